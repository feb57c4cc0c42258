/**
 * What the limits protect: answers 200 after 20 to 50 ms of work, and stamps every arrival with the
 * machine's monotonic clock, which its parent reads too. Tells its port; on the message `report` it
 * sends what it saw, on `forget` it begins anew.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type Arrival, monotonicMs, type Sighting } from './sighting.ts';

const WORK_MS = { least: 20, most: 50 };

const stalls = monitorEventLoopDelay({ resolution: 1 });
let arrivals: Arrival[] = [];
const inFlight = new Map<string, { now: number; most: number }>();

const server = createServer((request, response) => {
  const queue = request.url!.slice(1);
  const atMs = monotonicMs();
  arrivals.push({
    queue,
    atMs,
    task: String(request.headers['errand-task-id']),
    attempt: Number(request.headers['errand-attempt']),
  });
  const calls = inFlight.get(queue) ?? { now: 0, most: 0 };
  inFlight.set(queue, calls);
  calls.now += 1;
  calls.most = Math.max(calls.most, calls.now);
  request.resume();
  // A call is in flight for as long as it is worked on, whether or not its caller still lives.
  setTimeout(
    () => {
      calls.now -= 1;
      response.end();
    },
    WORK_MS.least + Math.random() * (WORK_MS.most - WORK_MS.least),
  );
});

process.on('message', (message) => {
  if (message === 'report') return void process.send!(sighting());
  arrivals = [];
  inFlight.clear();
  stalls.reset();
});
process.on('disconnect', () => process.exit(0));
stalls.enable();
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));

function sighting(): Sighting {
  return {
    arrivals,
    mostInFlight: Object.fromEntries([...inFlight].map(([queue, { most }]) => [queue, most])),
    longestStallMs: stalls.max / 1e6,
  };
}
