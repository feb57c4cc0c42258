/** What may be otherwise than it is known here: the store is asked now and then. Tasks with their flow keys. */
export interface FlowDoubts {
  /** A holder that is not in flight. `isFresh`: its call just ended, and it may have been cancelled with it. */
  addHolder(taskId: string, flowKey: string, when: { isFresh: boolean; nowMs: number }): void;
  /** Its key is free, or it is in flight again. */
  dropHolder(taskId: string): string | undefined;
  /** A call in flight of an owner before us. */
  addForeign(taskId: string, flowKey: string): void;
  dropForeign(taskId: string): string | undefined;
  /** The key of a task that is doubtful still. */
  keyOf(taskId: string): string | undefined;
  /** From now on every holder is to be asked after, once. */
  askAll(nowMs: number): void;
  /** Those to ask after now; they count as asked. */
  take(nowMs: number): { holders: string[]; foreign: string[] };
}

/** Whatever frees a key is told; this is for news that got lost. 100,000 holders make 1,700 rows a second. */
const ASK_AGAIN_MS = 60_000;
const MOST_HOLDERS = 5_000;

export function createFlowDoubts(): FlowDoubts {
  const fresh = new Map<string, string>();
  // The one asked after longest ago first.
  const asked = new Map<string, { flowKey: string; atMs: number }>();
  const foreign = new Map<string, string>();
  let askAllMs = Number.NEGATIVE_INFINITY;

  function* dueHolders(nowMs: number): Generator<[string, string]> {
    yield* fresh;
    for (const [taskId, { flowKey, atMs }] of asked) {
      if (atMs >= askAllMs && nowMs - atMs < ASK_AGAIN_MS) return;
      yield [taskId, flowKey];
    }
  }

  function takeHolders(nowMs: number): string[] {
    const taken = new Map<string, string>();
    for (const [taskId, flowKey] of dueHolders(nowMs)) {
      if (taken.size === MOST_HOLDERS) break;
      taken.set(taskId, flowKey);
    }
    for (const [taskId, flowKey] of taken) {
      fresh.delete(taskId);
      asked.delete(taskId);
      asked.set(taskId, { flowKey, atMs: nowMs });
    }
    return [...taken.keys()];
  }

  function keyOf(taskId: string): string | undefined {
    return fresh.get(taskId) ?? asked.get(taskId)?.flowKey ?? foreign.get(taskId);
  }

  return {
    addHolder(taskId, flowKey, { isFresh, nowMs }) {
      asked.delete(taskId);
      if (isFresh) fresh.set(taskId, flowKey);
      else asked.set(taskId, { flowKey, atMs: nowMs });
    },
    dropHolder(taskId) {
      const flowKey = fresh.get(taskId) ?? asked.get(taskId)?.flowKey;
      fresh.delete(taskId);
      asked.delete(taskId);
      return flowKey;
    },
    addForeign: (taskId, flowKey) => void foreign.set(taskId, flowKey),
    dropForeign(taskId) {
      const flowKey = foreign.get(taskId);
      foreign.delete(taskId);
      return flowKey;
    },
    keyOf,
    askAll(nowMs) {
      askAllMs = nowMs;
    },
    take: (nowMs) => ({ holders: takeHolders(nowMs), foreign: [...foreign.keys()] }),
  };
}
