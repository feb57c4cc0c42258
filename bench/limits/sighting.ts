/** What the target process tells of itself. */
export interface Sighting {
  arrivals: Arrival[];
  /** The target's clock as it reported, so that it can be held against ours. */
  nowMs: number;
  /** The longest that the target itself was kept from its work: calls then seem to come at once. */
  longestStallMs: number;
}

export interface Arrival {
  queue: string;
  /** The flow key; '' without one. */
  key: string;
  atMs: number;
  /** When it was worked off; null while it is not. */
  endedMs: number | null;
  task: string;
  attempt: number;
}

/** The same clock in every process of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}
