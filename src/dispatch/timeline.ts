export interface Timeline<Item> {
  add(item: Item, atMs: number): void;
  /** Removes and returns what is due, the earliest first. */
  takeDue(nowMs: number): Item[];
  /** When the next is due; Infinity when there is none. */
  nextMs(): number;
}

interface Entry<Item> {
  item: Item;
  atMs: number;
}

/** Items with a time each, for many more of them than there should be timers: a binary heap. */
export function createTimeline<Item>(): Timeline<Item> {
  const heap: Entry<Item>[] = [];
  const times = new Map<Item, number>();

  function rise(place: number): void {
    let child = place;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (heap[parent]!.atMs <= heap[child]!.atMs) return;
      swap(parent, child);
      child = parent;
    }
  }

  function sink(place: number): void {
    let parent = place;
    for (;;) {
      const [left, right] = [2 * parent + 1, 2 * parent + 2];
      let first = parent;
      if (left < heap.length && heap[left]!.atMs < heap[first]!.atMs) first = left;
      if (right < heap.length && heap[right]!.atMs < heap[first]!.atMs) first = right;
      if (first === parent) return;
      swap(parent, first);
      parent = first;
    }
  }

  function swap(one: number, other: number): void {
    const entry = heap[one]!;
    heap[one] = heap[other]!;
    heap[other] = entry;
  }

  function takeFirst(): Entry<Item> {
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      sink(0);
    }
    return first;
  }

  return {
    add(item, atMs) {
      // An earlier entry brings it up early, and whoever added it looks and adds it again.
      if ((times.get(item) ?? Number.POSITIVE_INFINITY) <= atMs) return;
      times.set(item, atMs);
      heap.push({ item, atMs });
      rise(heap.length - 1);
    },
    takeDue(nowMs) {
      const due = new Set<Item>();
      while (heap.length > 0 && heap[0]!.atMs <= nowMs) {
        const { item } = takeFirst();
        times.delete(item);
        due.add(item);
      }
      return [...due];
    },
    nextMs: () => heap[0]?.atMs ?? Number.POSITIVE_INFINITY,
  };
}
