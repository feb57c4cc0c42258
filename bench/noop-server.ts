/**
 * What single enqueue is held against: the route of `POST /v1/queues/{queue}/tasks` as the API has it
 * (server, router, key check, limits of the body, schema) with a handler that does nothing and answers
 * as long a task. Its arguments are the admin key and the URL of the service's database, which is read for
 * nothing but the project.
 */
import { authenticate } from '../src/api/auth.ts';
import { createKeyDirectory } from '../src/api/key-directory.ts';
import { asProblem, problemResponse } from '../src/api/problem.ts';
import { createRouter } from '../src/api/router.ts';
import { create } from '../src/api/task-route-definitions.ts';
import { listen } from '../src/http-server.ts';
import type { Task } from '../src/protocol/resources.ts';
import { openDatabase } from '../src/store/database.ts';
import { serve } from './child.ts';
import { CONTENT_TYPE, newId, QUEUE } from './work.ts';

const [adminKey, databaseUrl] = process.argv.slice(2) as [string, string];
const database = openDatabase({ url: databaseUrl, connections: 1, name: 'bench' });
const task = someTask();

const api = createRouter();
api.use('/v1/*', authenticate({ adminKey, database }, createKeyDirectory(database)));
api.openapi(create, (c) => {
  c.req.valid('json');
  return c.json(task, 201, { location: `/v1/tasks/${task.id}` });
});
api.onError((error, c) => problemResponse(asProblem(error, c.req.method)!));

const server = await listen('127.0.0.1', 0);
server.handle(api.fetch);
const verbs = { port: () => server.port };
export type NoopVerbs = typeof verbs;
serve(verbs);

function someTask(): Task {
  const now = new Date().toISOString();
  return {
    id: newId(),
    queue: QUEUE,
    name: null,
    state: 'ready',
    url: 'http://127.0.0.1:65535/',
    method: 'POST',
    headers: {},
    contentType: CONTENT_TYPE,
    priority: 0,
    flowKey: null,
    retry: {},
    dispatchDeadlineSeconds: null,
    retentionSeconds: null,
    owner: null,
    labels: {},
    step: 0,
    attempts: 0,
    progress: null,
    createdAt: now,
    scheduledAt: now,
    expireTime: null,
    startedAt: null,
    finishedAt: null,
    lastStatus: null,
    reason: null,
  };
}
