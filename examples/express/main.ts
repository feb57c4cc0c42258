/** A worker on Express. Reads ERRAND_ISSUER and ERRAND_WORKER_URL. */
import type { AddressInfo } from 'node:net';
import { createWorker } from 'errand/handler';
import { toNodeHandler } from 'errand/handler/node';
import express from 'express';

const errand = createWorker();

const greet = errand.task((name) => `Hello ${name}`);

const app = express();
// Targets come before express.json(): the token signs the raw bytes of the body.
app.post('/tasks/greet', toNodeHandler(greet));
app.use(express.json());
app.get('/', (_request, response) => void response.send('The rest of the app'));

const server = app.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(
    `listening on http://127.0.0.1:${(server.address() as AddressInfo).port}/tasks/greet`,
  );
});
