import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * A worker to try errand out with, on a free port of loopback: it answers 200 to everything, for as long
 * as this process lives. Our own API can't be that: no task is ever sent there. Returns its URL.
 */
export async function startSampleTarget(): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    response.end('done\n');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  server.unref();
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
