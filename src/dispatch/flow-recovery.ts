import type { Log } from '../log.ts';
import type { Database } from '../store/database.ts';
import { isDatabaseAway } from '../store/errors.ts';
import {
  type FlowQueue,
  findFlowLeases,
  findHeldKeys,
  findLivingTasks,
  findParkedKeys,
  findParkedQueues,
} from '../store/flow.ts';
import { createFlow, type Flow } from './flow.ts';
import type { FlowTask } from './flow-types.ts';
import type { QueueState } from './queue-state.ts';

export interface FlowRecovery {
  /** Reads what the store knows of a queue's keys, if that is not known here: until then nothing is claimed. */
  meet(state: QueueState): void;
  /** Looks at once which queues have parked tasks, and which holders live: shards were taken, or news was lost. */
  lookNow(): void;
  /** A task of this queue was cancelled or removed while it waited: it holds its key no longer. */
  noteEnded(queue: number, task: FlowTask): Promise<void>;
  start(): void;
  stop(): Promise<void>;
}

export interface FlowRecoveryOptions {
  database: Database;
  pool: string;
  shards: () => number[];
  /** The queue, loaded where it is not known; null when it is not ours. */
  stateOf: (queue: number) => Promise<QueueState | null>;
  /** Reads these queues again: their settings have changed. */
  reload: (queues: number[]) => Promise<void>;
  /** Queues that are known here. */
  states: () => QueueState[];
  /** Something of this queue may be claimed now. */
  onChanged: (state: QueueState) => void;
  monotonic: () => number;
  log: Log;
}

/** A changed limit is in force within a second, also when there is nothing to claim that would tell. */
const CHECK_INTERVAL_MS = 500;
/** How often what was parked by others is looked for. */
const LOOK_INTERVAL_MS = 5_000;
const KEYS_PER_PAGE = 5_000;
/** Queues whose next page of parked keys is compared with what is known, at each look. */
const QUEUES_PER_LOOK = 10;
const SLOW_MS = 10_000;

/**
 * Brings what the owner knows of flow keys in line with the store: when a queue becomes ours, and from
 * then on slowly, so that nothing that was cancelled, purged or parked by another keeps a key for ever.
 */
export function createFlowRecovery(options: FlowRecoveryOptions): FlowRecovery {
  const { database, monotonic, log } = options;
  const loading = new Set<Flow>();
  /** How far the comparison of a queue's keys has come. */
  const pages = new Map<number, string | null>();
  let turn = 0;
  let nextLookMs = 0;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | null = null;
  let isStopped = true;

  async function load(state: QueueState, flow: Flow): Promise<void> {
    const queue = state.record;
    const run = <Found>(
      verb: (sql: Parameters<Parameters<Database['run']>[0]>[0]) => Promise<Found>,
    ) => database.run(verb, { timeoutMs: SLOW_MS });
    const leases = await run((sql) => findFlowLeases(sql, queue));
    const held = await run((sql) => findHeldKeys(sql, queue));
    const parkedKeys: string[] = [];
    let afterKey: string | null = null;
    do {
      const page = await pageOf(queue, afterKey);
      parkedKeys.push(...page.keys);
      afterKey = page.next;
    } while (afterKey !== null && !isStopped);
    flow.load({ parkedKeys, held, leases }, monotonic());
  }

  async function pageOf(queue: FlowQueue, afterKey: string | null) {
    const keys = await database.run(
      (sql) => findParkedKeys(sql, queue, { afterKey, limit: KEYS_PER_PAGE }),
      { timeoutMs: SLOW_MS },
    );
    return { keys, next: keys.length === KEYS_PER_PAGE ? keys.at(-1)! : null };
  }

  async function meet(state: QueueState): Promise<void> {
    const { flow } = state;
    if (flow === null || flow.isLoaded || loading.has(flow)) return;
    loading.add(flow);
    try {
      await load(state, flow);
      options.onChanged(state);
    } catch (error) {
      // The next check tries again.
      warn(error, 'flow keys not read yet');
    } finally {
      loading.delete(flow);
    }
  }

  async function check(): Promise<void> {
    const nowMs = monotonic();
    const isLook = nowMs >= nextLookMs;
    const states = options.states().filter(({ flow }) => flow !== null);
    if (isLook) nextLookMs = nowMs + LOOK_INTERVAL_MS;
    if (isLook || states.length > 0) await look(isLook);
    for (const state of states) {
      if (state.flow === null) continue;
      if (!state.flow.isLoaded) await meet(state);
      else await checkQueue(state, state.flow, isLook);
    }
  }

  /** What is parked and not known here: the queue came from another pool, or its flow was switched off. */
  async function look(isThorough: boolean): Promise<void> {
    const shards = options.shards();
    if (shards.length === 0) return;
    const queues = await database.run((sql) => findParkedQueues(sql, options.pool, shards));
    const changed: number[] = [];
    for (const { id, version } of queues) {
      const state = await options.stateOf(id);
      if (state === null) continue;
      if (state.record.version !== version) changed.push(id);
      state.flow ??= createFlow(null, { othersMs: monotonic() });
      void meet(state);
    }
    if (changed.length > 0) await options.reload(changed);
    if (!isThorough) return;
    for (const queue of inTurn(queues)) await comparePage(queue);
  }

  function inTurn(queues: readonly FlowQueue[]): FlowQueue[] {
    turn = turn + QUEUES_PER_LOOK < queues.length ? turn + QUEUES_PER_LOOK : 0;
    return queues.slice(turn, turn + QUEUES_PER_LOOK);
  }

  async function comparePage(queue: FlowQueue): Promise<void> {
    const flow = (await options.stateOf(queue.id))?.flow;
    if (flow == null || !flow.isLoaded) return;
    const { keys, next } = await pageOf(queue, pages.get(queue.id) ?? null);
    pages.set(queue.id, next);
    for (const flowKey of keys) flow.noteParked({ flowKey, taskId: '' }, monotonic());
  }

  async function checkQueue(state: QueueState, flow: Flow, isLook: boolean): Promise<void> {
    const nowMs = monotonic();
    const { holders, foreign } = flow.doubtful(nowMs);
    if (holders.length + foreign.length > 0) {
      const { living, leased, parked } = await database.run((sql) =>
        findLivingTasks(sql, state.record.shard, [...holders, ...foreign]),
      );
      const gone = {
        holders: holders.filter((taskId) => !living.has(taskId)),
        foreign: foreign.filter((taskId) => !leased.has(taskId)),
        parked: [...parked],
      };
      flow.forget(gone, monotonic());
    }
    if (isLook && flow.sweep(nowMs) && state.record.settings.flow === null) state.flow = null;
    options.onChanged(state);
  }

  function warn(error: unknown, message: string): void {
    if (isDatabaseAway(error)) log.warn({ code: (error as { code?: string }).code }, message);
    else log.error({ error }, message);
  }

  function schedule(delayMs: number): void {
    if (isStopped || running !== null) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      running = check()
        .catch((error) => warn(error, 'flow keys not checked, trying again'))
        .finally(() => {
          running = null;
          schedule(CHECK_INTERVAL_MS);
        });
    }, delayMs);
  }

  return {
    meet: (state) => void meet(state),
    lookNow() {
      nextLookMs = 0;
      for (const { flow } of options.states()) flow?.doubtAll(monotonic());
      schedule(0);
    },
    async noteEnded(queue, task) {
      // A queue that can't be read now has no holders here that it could be.
      const state = await options.stateOf(queue).catch(() => null);
      if (state?.flow == null) return;
      state.flow.noteEnded(task, monotonic());
      options.onChanged(state);
    },
    start() {
      isStopped = false;
      schedule(0);
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
