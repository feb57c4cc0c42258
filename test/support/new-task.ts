import type { NewTask } from '../../src/store/enqueue.ts';

/** A task for the default queue (id 1, shard 0), with what the test is about set by `fields`. */
export function newTask(fields: Partial<NewTask> = {}): NewTask {
  return {
    shard: 0,
    queue: 1,
    rank: 0,
    url: 'http://127.0.0.1:9/',
    method: 'POST',
    headers: null,
    contentType: 'text/plain',
    body: Buffer.from('payload'),
    sealed: null,
    name: null,
    flowKey: null,
    retry: null,
    dispatchDeadlineMs: null,
    retentionSeconds: null,
    expireAt: null,
    dueAt: null,
    delaySeconds: 0,
    owner: null,
    labels: null,
    idempotency: null,
    ...fields,
  };
}
