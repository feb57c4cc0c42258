/** A worker on Hono, with a payload that is validated. Reads ERRAND_ISSUER and ERRAND_WORKER_URL. */
import { serve } from '@hono/node-server';
import { createWorker } from 'errand/handler';
import { Hono } from 'hono';
import { z } from 'zod';

const errand = createWorker();

const greet = errand.task(({ name }) => ({ greeting: `Hello ${name}` }), {
  input: z.object({ name: z.string().min(1) }),
});

const app = new Hono();
app.post('/tasks/greet', (c) => greet(c.req.raw));
app.get('/', (c) => c.text('The rest of the app'));

const port = Number(process.env.PORT ?? 3000);
serve({ fetch: app.fetch, hostname: '127.0.0.1', port }, (address) => {
  console.log(`listening on http://127.0.0.1:${address.port}/tasks/greet`);
});
