import { setTimeout as pause } from 'node:timers/promises';
import { ADMIN_KEY } from '../e2e/service.ts';
import type { Random } from './random.ts';
import type { ChaosTarget, Fate } from './target.ts';

export const QUEUES = ['chaos-0', 'chaos-1', 'chaos-2', 'chaos-3'] as const;

/** One task that was sent to the API, and what is known of it. */
export interface Sent {
  token: number;
  fate: Fate;
  /** `refused`: the API said, or there was nobody to say, that nothing was done. */
  state: 'under way' | 'acknowledged' | 'unknown' | 'refused';
  task: string | null;
  /** By the wall clock. */
  dueMs: number;
  /** How long the slowest of its requests took. */
  tookMs: number;
}

export interface Load {
  sent: Sent[];
  /** Answers that no fault excuses, such as a 500, and how often each came. */
  oddities: Map<string, number>;
  /** The tokens that come later are higher than this. */
  newest(): number;
  /** Sends one by one from now on, evenly, whatever becomes of them. */
  start(perSecond: number): void;
  /** Ends `start`, and waits until each has been answered; one with a key is repeated until it is. */
  stop(): Promise<void>;
  /** Sends so many in batches; all are due at `dueAt` (default: now). */
  burst(count: number, dueAt?: Date): Promise<void>;
}

export interface LoadOptions {
  /** Base URLs of the API processes that live now. */
  apis: () => string[];
  target: ChaosTarget;
  random: Random;
  /** Fields that every task has besides. */
  fields?: Record<string, unknown>;
}

const REQUEST_TIMEOUT_MS = 10_000;
const REPEAT_AFTER_MS = 200;
const REPEATS = 150;
const BATCH = 500;
const RETRY = { minBackoffSeconds: 0.1, maxBackoffSeconds: 0.5 };
/** Short, so that a lease whose settlement was lost ends while the run still waits for it. */
const DEADLINE_SECONDS = 5;
/** The API's word that nothing was done. */
const DONE_NOTHING = ['database-unavailable', 'shutting-down', 'overloaded'];
const IN_DOUBT = 'outcome-unknown';

/** Half of what it sends one by one carries an Idempotency-Key and is repeated; half is left in doubt. */
export function createLoad({ apis, target, random, fields = {} }: LoadOptions): Load {
  const sent: Sent[] = [];
  const oddities = new Map<string, number>();
  const underWay = new Set<Promise<void>>();
  let timer: NodeJS.Timeout | undefined;

  function enter(dueMs = Date.now()): Sent {
    const chance = random.next();
    const fate = chance < 0.03 ? 'fails-once' : chance < 0.05 ? 'dies' : 'succeeds';
    const token = sent.length;
    const one: Sent = { token, fate, state: 'under way', task: null, dueMs, tookMs: 0 };
    sent.push(one);
    return one;
  }

  const bodyOf = ({ token, fate }: Sent) => ({
    url: target.urlOf(token, fate),
    payload: String(token),
    retry: RETRY,
    dispatchDeadlineSeconds: DEADLINE_SECONDS,
    ...fields,
  });

  async function sendOne(one: Sent, isRepeated: boolean): Promise<void> {
    const key = isRepeated ? `chaos-${one.token}` : null;
    const queue = random.pick(QUEUES);
    for (let repeats = 0; repeats <= REPEATS; repeats += 1) {
      const startMs = performance.now();
      const { state, body } = await post(apis(), `${queue}/tasks`, bodyOf(one), key);
      one.tookMs = Math.max(one.tookMs, performance.now() - startMs);
      // What was once in doubt stays so, until its key is answered for.
      if (state !== 'refused' || one.state !== 'unknown') one.state = state;
      one.task = (body as { id?: string } | null)?.id ?? null;
      if (state === 'acknowledged' || key === null) return;
      await pause(REPEAT_AFTER_MS);
    }
  }

  async function sendBatch(count: number, dueAt: Date | undefined): Promise<void> {
    const batch = Array.from({ length: count }, () => enter(dueAt?.getTime()));
    const due = dueAt && { scheduleTime: dueAt.toISOString() };
    const tasks = batch.map((one) => ({ ...bodyOf(one), ...due }));
    const answer = await post(apis(), `${random.pick(QUEUES)}/tasks/batch`, { tasks }, null);
    const items = (answer.body as { items?: { status: number; task?: { id: string } }[] })?.items;
    for (const [index, one] of batch.entries()) {
      const item = items?.[index];
      one.task = item?.task?.id ?? null;
      one.state = item === undefined || item.status === 201 ? answer.state : 'unknown';
    }
  }

  function note(oddity: string): void {
    oddities.set(oddity, (oddities.get(oddity) ?? 0) + 1);
  }

  function track(work: Promise<void>): void {
    underWay.add(work);
    void work.finally(() => underWay.delete(work));
  }

  return {
    sent,
    oddities,
    newest: () => sent.length - 1,
    start(perSecond) {
      timer = setInterval(() => track(sendOne(enter(), sent.length % 2 === 0)), 1_000 / perSecond);
    },
    async stop() {
      clearInterval(timer);
      await Promise.all(underWay);
    },
    async burst(count, dueAt) {
      for (let left = count; left > 0; left -= BATCH) await sendBatch(Math.min(left, BATCH), dueAt);
    },
  };

  async function post(
    urls: string[],
    path: string,
    body: unknown,
    key: string | null,
  ): Promise<{ state: Sent['state']; body: unknown }> {
    if (urls.length === 0) return { state: 'refused', body: null };
    try {
      const response = await fetch(`${random.pick(urls)}/v1/queues/${path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${ADMIN_KEY}`,
          'content-type': 'application/json',
          ...(key === null ? {} : { 'idempotency-key': key }),
        },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const answer = (await response.json()) as { code?: string };
      if (response.ok) return { state: 'acknowledged', body: answer };
      if (DONE_NOTHING.includes(answer.code ?? '')) return { state: 'refused', body: null };
      if (answer.code !== IN_DOUBT) note(`${response.status} ${answer.code}`);
      return { state: 'unknown', body: null };
    } catch (error) {
      const { code } = ((error as Error).cause ?? {}) as { code?: string };
      return { state: code === 'ECONNREFUSED' ? 'refused' : 'unknown', body: null };
    }
  }
}
