import type { ClaimedTask, QueueRecord, Settlement } from '../model.ts';
import {
  type Answer,
  decideSettlement,
  describeAnswer,
  resolveRetry,
  type SettlementContext,
} from '../policy/settlement.ts';
import { projectIssuer, tokenUrl } from '../protocol/token.ts';
import type { DatabaseClock } from './database-clock.ts';
import type { Poster } from './post.ts';
import { requestHeaders } from './request.ts';
import type { Signer } from './sign.ts';

export interface DeliverParts {
  poster: Poster;
  signerOf: (project: string) => Promise<Signer>;
  clock: DatabaseClock;
  monotonic: () => number;
  publicUrl: string;
}

/** One attempt: sign → POST → decide. Returns what is to be settled. */
export async function deliver(
  parts: DeliverParts,
  task: ClaimedTask,
  queue: QueueRecord,
): Promise<Settlement> {
  if (task.isExpired) return expired(task, queue);
  const startedMs = parts.monotonic();
  const answer = await callTarget(parts, task, queue);
  return settlementOf(task, queue, answer, parts.monotonic() - startedMs, parts.clock.now());
}

/** What follows from an attempt of whose answer nothing is known: its dispatcher is gone. */
export function lostAttempt(task: ClaimedTask, queue: QueueRecord, nowMs: number): Settlement {
  const error = 'the dispatcher went away, or its answer was not settled before the lease ended';
  return settlementOf(task, queue, { outcome: 'lost', error }, 0, nowMs);
}

async function callTarget(
  { poster, signerOf, clock, publicUrl }: DeliverParts,
  task: ClaimedTask,
  queue: QueueRecord,
): Promise<Answer> {
  const url = tokenUrl(task.url);
  const signer = await signerOf(queue.project);
  const token = await signer.sign({
    issuer: projectIssuer(publicUrl, queue.project),
    audience: queue.settings.audience ?? new URL(url).origin,
    queue: queue.name,
    taskId: task.taskId,
    leaseId: task.leaseId,
    method: task.method,
    url,
    body: task.body,
    issuedAt: Math.floor(clock.now() / 1000),
  });
  const retry = resolveRetry(queue.settings.retry, task.retry);
  return poster.post({
    project: queue.project,
    url,
    method: task.method,
    headers: requestHeaders(task, queue, retry, token),
    body: task.body,
    deadlineMs: deadlineSeconds(task, queue) * 1000,
  });
}

function settlementOf(
  task: ClaimedTask,
  queue: QueueRecord,
  answer: Answer,
  durationMs: number,
  nowMs: number,
): Settlement {
  const context: SettlementContext = {
    attempt: task.attempt,
    secondsSinceFirstAttempt: task.secondsSinceFirstAttempt + durationMs / 1000,
    retry: resolveRetry(queue.settings.retry, task.retry),
    successStatus: queue.settings.successStatus,
    url: task.url,
    now: new Date(nowMs),
  };
  return {
    ...settlementKey(task, queue),
    ...describeAnswer(answer, context),
    outcome: answer.outcome,
    durationMs,
    decision: decideSettlement(answer, context),
  };
}

/** Past its expire time nothing is dispatched, so there is no attempt to log. */
function expired(task: ClaimedTask, queue: QueueRecord): Settlement {
  return {
    ...settlementKey(task, queue),
    outcome: null,
    status: task.previousStatus,
    error: null,
    durationMs: 0,
    decision: {
      kind: 'fail',
      reason: 'its expire time passed before it could start',
      output: null,
    },
  };
}

function settlementKey(task: ClaimedTask, { settings }: QueueRecord) {
  return {
    shard: task.shard,
    taskId: task.taskId,
    leaseId: task.leaseId,
    queue: task.queue,
    step: task.step,
    attempt: task.attempt,
    name: task.name,
    retentionSeconds: task.retentionSeconds ?? settings.retentionSeconds,
    nameRetentionSeconds: settings.nameRetentionSeconds,
  };
}

function deadlineSeconds(task: ClaimedTask, { settings }: QueueRecord): number {
  return task.dispatchDeadlineSeconds ?? settings.dispatchDeadlineSeconds;
}
