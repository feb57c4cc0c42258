/** What the target process tells of itself. */
export interface Sighting {
  arrivals: Arrival[];
  /** By queue. */
  mostInFlight: Record<string, number>;
  /** The longest that the target itself was kept from its work: calls then seem to come at once. */
  longestStallMs: number;
}

export interface Arrival {
  queue: string;
  atMs: number;
  task: string;
  attempt: number;
}

/** The same clock in every process of the machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}
