import type { ClaimedTask, QueueRecord, Settlement } from '../model.ts';
import {
  type Answer,
  decideSettlement,
  describeAnswer,
  resolveRetry,
  type SettlementContext,
} from '../policy/settlement.ts';
import { projectIssuer } from '../protocol/token.ts';
import { ContentError, type DataKey } from '../store/content-seal.ts';
import type { Keyring } from '../store/keyring.ts';
import { type CallTarget, callTarget } from './call-target.ts';
import type { DatabaseClock } from './database-clock.ts';
import type { Poster } from './post.ts';
import { requestHeaders } from './request.ts';
import { type OpenTask, openTask, sealNextStep } from './sealed-task.ts';
import type { Signer } from './sign.ts';
import { webhookId } from './webhook.ts';

export interface DeliverParts {
  poster: Poster;
  keyring: Keyring;
  /** At once where it is known. */
  signerOf: (project: string) => Signer | Promise<Signer>;
  clock: DatabaseClock;
  monotonic: () => number;
  publicUrl: string;
}

/** A call whose token is made, or being made, before there is a slot for it. */
export interface PreparedCall {
  /** The task as it is sent. */
  task: OpenTask;
  /** What its row is encrypted with; null where it is not. */
  dataKey: DataKey | null;
  target: CallTarget;
  token: Promise<string>;
  /** Headers of its Standard Webhooks signatures; null where the queue has no secrets. */
  webhook: Promise<Record<string, string>> | null;
}

/**
 * Begins to sign, for a claim brings many that can be signed together; what is sealed is opened before.
 * Null when there is nothing to call: it is too late, or its URL is none by now.
 */
export function prepareCall(
  parts: DeliverParts,
  task: ClaimedTask,
  queue: QueueRecord,
): PreparedCall | Promise<PreparedCall> | null {
  const target = callTarget(task.url);
  if (task.isExpired || target === null) return null;
  if (isOpen(task)) return signCall(parts, task, queue, target);
  const call = openCall(parts, task, queue, target);
  // Whoever calls waits for it and sees it fail.
  call.catch(() => undefined);
  return call;
}

function isOpen(task: ClaimedTask): task is OpenTask {
  return task.seal === null;
}

async function openCall(
  parts: DeliverParts,
  task: ClaimedTask,
  queue: QueueRecord,
  target: CallTarget,
): Promise<PreparedCall> {
  const dataKey = await parts.keyring.get(queue.project, task.seal!.dataKey);
  return { ...signCall(parts, openTask(dataKey, task), queue, target), dataKey };
}

function signCall(
  { signerOf, clock, publicUrl }: DeliverParts,
  task: OpenTask,
  queue: QueueRecord,
  target: CallTarget,
): PreparedCall {
  const claims = {
    issuer: projectIssuer(publicUrl, queue.project),
    audience: queue.settings.audience ?? target.origin,
    queue: queue.name,
    taskId: task.taskId,
    leaseId: task.leaseId,
    method: task.method,
    url: target.href,
    body: task.body,
    issuedAt: Math.floor(clock.now() / 1000),
  };
  const signer = signerOf(queue.project);
  const token =
    signer instanceof Promise ? signer.then((each) => each.sign(claims)) : signer.sign(claims);
  // Whoever calls waits for it and sees it fail; one that is given back is not called.
  token.catch(() => undefined);
  const webhook = signWebhook(signer, task, queue, claims.issuedAt);
  return { task, dataKey: null, target, token, webhook };
}

function signWebhook(
  signer: Signer | Promise<Signer>,
  { taskId, step, body }: ClaimedTask,
  { webhookSecrets }: QueueRecord,
  timestamp: number,
): Promise<Record<string, string>> | null {
  if (webhookSecrets.length === 0) return null;
  const message = { id: webhookId(taskId, step), timestamp, body };
  const headers = Promise.resolve(signer).then((each) => each.signWebhook(webhookSecrets, message));
  headers.catch(() => undefined);
  return headers;
}

/** One attempt: POST → decide. Returns what is to be settled; null when the call might not begin. */
export async function deliver(
  parts: DeliverParts,
  task: ClaimedTask,
  queue: QueueRecord,
  prepared: PreparedCall | Promise<PreparedCall> | null,
  mayBegin: () => boolean,
): Promise<Settlement | null> {
  if (prepared === null) {
    return task.isExpired ? expired(task, queue) : noUrl(task, queue, parts.clock.now());
  }
  const call = prepared instanceof Promise ? await readable(prepared) : prepared;
  if (call instanceof ContentError) return unreadable(task, queue, call, parts.clock.now());
  const token = await call.token;
  const webhook = call.webhook === null ? {} : await call.webhook;
  const startedMs = parts.monotonic();
  const retry = resolveRetry(queue.settings.retry, task.retry);
  const answer = await parts.poster.post({
    project: queue.project,
    target: call.target,
    method: task.method,
    headers: requestHeaders(call.task, queue, retry, token, webhook),
    body: call.task.body,
    deadlineMs: deadlineSeconds(task, queue) * 1000,
    mayBegin,
  });
  if (answer === null) return null;
  const durationMs = parts.monotonic() - startedMs;
  const settlement = settlementOf(task, queue, answer, durationMs, parts.clock.now());
  return call.dataKey === null ? settlement : sealNextStep(call.dataKey, call.task, settlement);
}

async function readable(call: Promise<PreparedCall>): Promise<PreparedCall | ContentError> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof ContentError) return error;
    throw error;
  }
}

/** What follows from an attempt of whose answer nothing is known: its dispatcher is gone. */
export function lostAttempt(task: ClaimedTask, queue: QueueRecord, nowMs: number): Settlement {
  const error = 'the dispatcher went away, or its answer was not settled before the lease ended';
  return settlementOf(task, queue, { outcome: 'lost', error }, 0, nowMs);
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

/** The API refuses such a URL, but it may have been stored by another version of what parses URLs. */
function noUrl(task: ClaimedTask, queue: QueueRecord, nowMs: number): Settlement {
  const error = 'its URL can not be parsed';
  return settlementOf(task, queue, { outcome: 'unreachable', error }, 0, nowMs);
}

/** No target hears of it. It can be told to run again when it was mended. */
function unreadable(
  task: ClaimedTask,
  queue: QueueRecord,
  { message }: ContentError,
  nowMs: number,
): Settlement {
  return settlementOf(task, queue, { outcome: 'blocked', error: message }, 0, nowMs);
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
