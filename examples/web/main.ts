/**
 * A worker that is a web handler and nothing else, walking over many entities a batch at a time. Its
 * default export is what Deno, Bun and Workers serve as it is; the last lines serve it on Node.
 */
import { serve } from '@hono/node-server';
import { createWorker } from 'errand/handler';

const errand = createWorker();
const users = Array.from({ length: 25 }, (_, i) => ({ id: i + 1 }));

const greetEverybody = errand.iterativeTask({
  batch: 10,
  fetchBatch: (after: number | null, limit) => {
    const entities = users.filter((user) => user.id > (after ?? 0)).slice(0, limit);
    const nextCursor = entities.length < limit ? null : entities.at(-1)?.id;
    return { entities, nextCursor, total: users.length };
  },
  work: (batch) => console.log(`Hello ${batch.map((user) => user.id).join(', ')}`),
});

const worker = {
  async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    return pathname === '/tasks/greet'
      ? greetEverybody(request)
      : new Response('Not found', { status: 404 });
  },
};
export default worker;

const port = Number(process.env.PORT ?? 3000);
serve({ fetch: worker.fetch, hostname: '127.0.0.1', port }, (address) => {
  console.log(`listening on http://127.0.0.1:${address.port}/tasks/greet`);
});
