/** A worker on Node's own server. Reads ERRAND_ISSUER and ERRAND_WORKER_URL. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createWorker, FatalTaskError } from 'errand/handler';
import { toNodeHandler } from 'errand/handler/node';

const errand = createWorker();

const greet = errand.task(async (name, { taskId, attempt }) => {
  if (name === '') throw new FatalTaskError('There is nobody to greet');
  console.log(`task ${taskId}, attempt ${attempt}`);
  return `Hello ${name}`;
});

const server = createServer(toNodeHandler(greet));
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(
    `listening on http://127.0.0.1:${(server.address() as AddressInfo).port}/tasks/greet`,
  );
});
