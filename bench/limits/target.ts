/**
 * What the limits protect: answers 200 after 20 to 50 ms of work, or after what `?workMs=` says, and
 * stamps the beginning and the end of every call with the machine's monotonic clock, which its parent
 * reads too. A path is a queue and, where it has one, a flow key. Tells its port; on the message
 * `report` it sends what it saw, on `forget` it begins anew.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type Arrival, monotonicMs, type Sighting } from './sighting.ts';

const WORK_MS = { least: 20, most: 50 };

const stalls = monitorEventLoopDelay({ resolution: 1 });
let arrivals: Arrival[] = [];

const server = createServer((request, response) => {
  const atMs = monotonicMs();
  const { pathname, searchParams } = new URL(request.url!, 'http://target');
  const [, queue = '', key = ''] = pathname.split('/');
  const arrival: Arrival = {
    queue,
    key,
    atMs,
    endedMs: null,
    task: String(request.headers['errand-task-id']),
    attempt: Number(request.headers['errand-attempt']),
  };
  arrivals.push(arrival);
  request.resume();
  // A call is in flight for as long as it is worked on, whether or not its caller still lives.
  setTimeout(
    () => {
      arrival.endedMs = monotonicMs();
      response.end();
    },
    Number(searchParams.get('workMs')) || chooseWorkMs(),
  );
});

process.on('message', (message) => {
  if (message === 'report') return void process.send!(sighting());
  arrivals = [];
  stalls.reset();
});
process.on('disconnect', () => process.exit(0));
stalls.enable();
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));

function chooseWorkMs(): number {
  return WORK_MS.least + Math.random() * (WORK_MS.most - WORK_MS.least);
}

function sighting(): Sighting {
  return { arrivals, nowMs: monotonicMs(), longestStallMs: stalls.max / 1e6 };
}
