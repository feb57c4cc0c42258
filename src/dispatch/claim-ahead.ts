/** How many tasks are claimed before there is a slot for them, so that claims bring many at once. */
export interface ClaimAhead {
  /** A call has ended well. */
  note(): void;
  /** A task came so long after its claim was sent. */
  noteClaim(tookMs: number): void;
  /** So many may wait for a slot. */
  most(): number;
}

/** What waits for a slot is called within about this time, so that another queue's task is as well. */
const HORIZON_MS = 40;
/** Or, where the database is slower, within so many times a claim takes: else slots wait for claims. */
const HORIZON_CLAIMS = 2;
const MAX_HORIZON_MS = 200;
/** The weight of the latest task in the average time of claims. */
const CLAIM_WEIGHT = 0.1;

/**
 * As many as ended their calls in the time that just passed, for what comes next goes as fast; but no more
 * than `limit`.
 */
export function createClaimAhead(monotonic: () => number, limit: number): ClaimAhead {
  let startMs = monotonic();
  let count = 0;
  let before = 0;
  let claimMs = 0;

  function advance(): void {
    const nowMs = monotonic();
    const passedMs = nowMs - startMs;
    if (passedMs < HORIZON_MS) return;
    before = passedMs < 2 * HORIZON_MS ? count : 0;
    count = 0;
    startMs = nowMs;
  }

  return {
    note() {
      advance();
      count += 1;
    },
    noteClaim(tookMs) {
      claimMs += (tookMs - claimMs) * CLAIM_WEIGHT;
    },
    most() {
      advance();
      const horizonMs = Math.min(MAX_HORIZON_MS, Math.max(HORIZON_MS, claimMs * HORIZON_CLAIMS));
      const calls = (Math.max(before, count) * horizonMs) / HORIZON_MS;
      return Math.min(limit, Math.floor(calls));
    },
  };
}
