import type { QueueRecord } from '../model.ts';
import { LIMIT } from '../protocol/limits.ts';
import type { InputError } from '../protocol/problem.ts';
import type { CreateTask, RetryPolicy } from '../protocol/resources.ts';
import type { NewTask } from '../store/enqueue.ts';
import { isConfidential, pointer, received } from './input-errors.ts';
import { type TargetRefusal, targetUrlError } from './schemas/target-url.ts';
import { timeOf } from './schemas/task-time.ts';

/** A task ready to be enqueued, or what is wrong with it in this queue. */
export type ResolvedTask = { task: NewTask } | { errors: InputError[] };

/**
 * What a task becomes in its queue: its URL resolved against the queue's base, its headers over the
 * queue's, so that the stored row says all that is sent. Retry and times that it leaves out stay open,
 * to follow the queue's settings as they are when it is dispatched.
 */
export function resolveTask(
  input: CreateTask,
  queue: QueueRecord,
  refusal?: TargetRefusal,
): ResolvedTask {
  const url = resolveUrl(input.url ?? '', queue.settings.target.baseUrl, refusal);
  const sent = resolveHeaders(input, queue.settings.target.headers);
  const errors = [
    ...('expected' in url ? [inputError(['url'], url.expected, input.url)] : []),
    ...('error' in sent ? [sent.error] : []),
    ...retryErrors(input.retry, queue.settings.retry),
  ];
  if (errors.length > 0 || 'expected' in url || 'error' in sent) return { errors };
  const deadline = input.dispatchDeadlineSeconds;
  return {
    task: {
      shard: queue.shard,
      queue: queue.id,
      // Zero has no sign in the database, so it should have none before.
      rank: 0 - (input.priority ?? 0),
      url: url.url,
      method: input.method ?? 'POST',
      headers: Object.keys(sent.headers).length > 0 ? sent.headers : null,
      contentType: sent.contentType,
      body: bodyOf(input),
      sealed: null,
      name: input.name ?? null,
      flowKey: input.flowKey ?? null,
      retry: input.retry ?? null,
      dispatchDeadlineMs: deadline === undefined ? null : Math.round(deadline * 1000),
      retentionSeconds: input.retentionSeconds ?? null,
      expireAt: input.expireTime === undefined ? null : timeOf(input.expireTime),
      dueAt: input.scheduleTime === undefined ? null : timeOf(input.scheduleTime),
      delaySeconds: input.delaySeconds ?? 0,
      owner: input.owner ?? null,
      labels: input.labels ?? null,
      idempotency: null,
    },
  };
}

/** A path may lead anywhere on the base's origin, and not to another (`//host`). */
function resolveUrl(
  given: string,
  baseUrl: string | null,
  refusal?: TargetRefusal,
): { url: string } | { expected: string } {
  const url = given.split('#', 1)[0] ?? '';
  if (/^https?:\/\//i.test(url)) {
    const expected = targetUrlError(url, refusal);
    return expected ? { expected } : { url };
  }
  if (baseUrl === null) {
    return { expected: 'an absolute http or https URL, as the queue has no target.baseUrl' };
  }
  const expected = 'an absolute http or https URL, or a path';
  if (!URL.canParse(url, baseUrl)) return { expected };
  const resolved = new URL(url, baseUrl);
  if (resolved.origin !== new URL(baseUrl).origin) return { expected };
  const wrong = targetUrlError(resolved.href, refusal);
  return wrong ? { expected: wrong } : { url: resolved.href };
}

/** The content type has a column of its own, wherever it was given. */
function resolveHeaders(
  input: CreateTask,
  ofQueue: Record<string, string>,
): { headers: Record<string, string>; contentType: string | null } | { error: InputError } {
  const own = Object.keys(input.headers ?? {}).find(isContentType);
  if (own !== undefined && input.contentType !== undefined) {
    const expected = 'nothing, as there is a contentType';
    return { error: inputError(['headers', own], expected, input.headers?.[own]) };
  }
  const merged = mergeHeaders(ofQueue, input.headers ?? {});
  const fromHeader = merged.find(([name]) => isContentType(name))?.[1];
  const kept = merged.filter(([name]) => !isContentType(name));
  const bytes = kept.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (kept.length > LIMIT.headers || bytes > LIMIT.headersBytes) {
    const expected = `with the queue's, at most ${LIMIT.headers} headers of ${LIMIT.headersBytes} bytes`;
    return { error: inputError(['headers'], expected, input.headers) };
  }
  const contentType = input.contentType ?? fromHeader ?? defaultContentType(input);
  return { headers: Object.fromEntries(kept), contentType };
}

/** The task's own win, whatever their case. */
function mergeHeaders(
  ofQueue: Record<string, string>,
  ofTask: Record<string, string>,
): [string, string][] {
  const own = new Set(Object.keys(ofTask).map((name) => name.toLowerCase()));
  const others = Object.entries(ofQueue).filter(([name]) => !own.has(name.toLowerCase()));
  return [...others, ...Object.entries(ofTask)];
}

function isContentType(name: string): boolean {
  return name.toLowerCase() === 'content-type';
}

function defaultContentType({ payload, payloadBase64 }: CreateTask): string | null {
  if (payloadBase64 !== undefined) return 'application/octet-stream';
  if (payload === undefined) return null;
  return isJson(payload) ? 'application/json' : 'text/plain; charset=utf-8';
}

/** How a JSON text may begin: RFC 8259, sections 2 and 3. */
const JSON_BEGINS = /^[\t\n\r ]*[[{"\-0-9tfn]/;

/** What can't be JSON is not parsed, for an error costs 17 µs. */
function isJson(text: string): boolean {
  if (!JSON_BEGINS.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false; // That it does not parse is the answer.
  }
}

function bodyOf({ payload, payloadBase64 }: CreateTask): Uint8Array {
  return payloadBase64 === undefined
    ? Buffer.from(payload ?? '')
    : Buffer.from(payloadBase64, 'base64');
}

/** A task that gives one end of the backoff must fit the queue's other end. */
function retryErrors(own: Partial<RetryPolicy> | undefined, ofQueue: RetryPolicy): InputError[] {
  const { minBackoffSeconds: min, maxBackoffSeconds: max } = { ...ofQueue, ...own };
  if (own === undefined || min <= max) return [];
  if (own.minBackoffSeconds !== undefined) {
    return [
      inputError(
        ['retry', 'minBackoffSeconds'],
        `at most the queue's maxBackoffSeconds, ${max}`,
        min,
      ),
    ];
  }
  if (own.maxBackoffSeconds !== undefined) {
    return [
      inputError(
        ['retry', 'maxBackoffSeconds'],
        `at least the queue's minBackoffSeconds, ${min}`,
        max,
      ),
    ];
  }
  return [];
}

function inputError(path: string[], expected: string, value: unknown): InputError {
  return { pointer: pointer(path), expected, received: received(value, isConfidential(path)) };
}
