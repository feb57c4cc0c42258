/** What waits for a slot, and says when it has one. */
export interface SlotsOptions<Item, Queue extends object> {
  /** Slots in all. */
  slots: number;
  /** Of these a queue gets at most so many. */
  slotsOfQueue: number;
  queueOf: (item: Item) => Queue;
  /** It has a slot, until `leave`. */
  onEntered: (item: Item) => void;
}

export interface SlotQueue<Item> {
  /** Waits for a slot of its queue, then for one of all, in the order of coming. */
  enter(item: Item): void;
  /** Its slot is free for the next. */
  leave(item: Item): void;
  /** Forgets all that waits. */
  clear(): void;
  taken(): number;
  /** Those whose queue lets them have a slot as soon as there is one. */
  waiting(): number;
}

/** Of a queue: those that have a slot or wait for one of all, and those for which the queue has none left. */
interface Lane<Item> {
  admitted: number;
  behind: Item[];
}

/**
 * The slots of a dispatcher. What waits here is all that was claimed ahead, so it costs no more than its place in
 * a list: as two p-limits, one in the other, it took a tenth of what is allocated for a task.
 */
export function createSlots<Item, Queue extends object>({
  slots,
  slotsOfQueue,
  queueOf,
  onEntered,
}: SlotsOptions<Item, Queue>): SlotQueue<Item> {
  const lanes = new WeakMap<Queue, Lane<Item>>();
  const crowded = new Set<Lane<Item>>();
  let waiting: Item[] = [];
  let taken = 0;

  function laneOf(item: Item): Lane<Item> {
    const queue = queueOf(item);
    let lane = lanes.get(queue);
    if (lane === undefined) {
      lane = { admitted: 0, behind: [] };
      lanes.set(queue, lane);
    }
    return lane;
  }

  function admit(lane: Lane<Item>, item: Item): void {
    lane.admitted += 1;
    if (taken < slots) give(item);
    else waiting.push(item);
  }

  function give(item: Item): void {
    taken += 1;
    onEntered(item);
  }

  function admitNext(lane: Lane<Item>): void {
    const item = lane.behind.shift();
    if (lane.behind.length === 0) crowded.delete(lane);
    if (item !== undefined) admit(lane, item);
  }

  return {
    enter(item) {
      const lane = laneOf(item);
      if (lane.admitted < slotsOfQueue) return admit(lane, item);
      lane.behind.push(item);
      crowded.add(lane);
    },
    leave(item) {
      const lane = laneOf(item);
      taken -= 1;
      lane.admitted -= 1;
      const next = waiting.shift();
      if (next !== undefined) give(next);
      admitNext(lane);
    },
    clear() {
      for (const item of waiting) laneOf(item).admitted -= 1;
      waiting = [];
      for (const lane of crowded) lane.behind = [];
      crowded.clear();
    },
    taken: () => taken,
    waiting: () => waiting.length,
  };
}
