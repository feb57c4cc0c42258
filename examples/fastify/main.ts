/** A worker on Fastify. Reads ERRAND_ISSUER and ERRAND_WORKER_URL. */
import { createWorker } from 'errand/handler';
import { fastifyTargets } from 'errand/handler/node';
import Fastify from 'fastify';

const errand = createWorker();

const greet = errand.task((name) => `Hello ${name}`);

const app = Fastify();
app.register(fastifyTargets({ '/tasks/greet': greet }));
app.get('/', async () => 'The rest of the app');

const base = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) });
console.log(`listening on ${base}/tasks/greet`);
