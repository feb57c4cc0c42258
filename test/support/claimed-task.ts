import type { ClaimedTask } from '../../src/model.ts';

/** A task in hand as a claim gives it: the first attempt of a plain POST, unless `fields` say otherwise. */
export function claimedTask(fields: Partial<ClaimedTask> = {}): ClaimedTask {
  return {
    shard: 0,
    taskId: '0198c0de000070008000000000000001',
    leaseId: '3f2f0f5e-5c1c-4f0e-9b0a-000000000001',
    queue: 1,
    step: 0,
    attempt: 1,
    rank: 0,
    seq: '1',
    flowKey: null,
    name: null,
    url: 'https://worker.example/work',
    method: 'POST',
    headers: {},
    contentType: 'application/json',
    body: Buffer.from('{}'),
    seal: null,
    retry: {},
    dispatchDeadlineSeconds: null,
    retentionSeconds: null,
    scheduledAt: new Date('2026-01-02T03:04:05.678Z'),
    secondsSinceFirstAttempt: 0,
    isExpired: false,
    previousStatus: null,
    ...fields,
  };
}
