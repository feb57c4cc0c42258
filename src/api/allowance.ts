import type { Database } from '../store/database.ts';
import { type Draw, drawAllowance } from '../store/project-quota.ts';

/** How much of a second's tokens is drawn ahead, so that few tasks cost a statement. */
const AHEAD_SECONDS = 0.1;
/** What was drawn and not used for so long is lost, so that it does not come on top of a later burst. */
const KEPT_MS = 1_000;
/** After a refusal the bucket is left alone until it can have a token, but for no longer than this. */
const LONGEST_REFUSAL_MS = 1_000;
const SHORTEST_REFUSAL_MS = 20;

/** Tokens for the enqueues of projects, drawn from the buckets in the database that all processes share. */
export interface Allowances {
  /** Takes up to `wanted` tokens; `burst` null = a second's worth, 1 at least. */
  draw(project: string, wanted: number, ratePerSecond: number, burst: number | null): Promise<Draw>;
  /** For tasks that were not made after all. */
  giveBack(project: string, unused: number): void;
}

/** What this process has of a project's tokens. */
interface Hand {
  tokens: number;
  keptUntilMs: number;
  refusedUntilMs: number;
  /** By how many tokens the requests that wait for a draw are short, all together. */
  wanted: number;
  drawing: Promise<void> | null;
}

/** `nowMs` is a monotonic clock. */
export function createAllowances(database: Database, nowMs: () => number): Allowances {
  const hands = new Map<string, Hand>();

  function handOf(project: string): Hand {
    let hand = hands.get(project);
    if (hand === undefined) {
      hand = { tokens: 0, keptUntilMs: 0, refusedUntilMs: 0, wanted: 0, drawing: null };
      hands.set(project, hand);
    }
    if (nowMs() >= hand.keptUntilMs) hand.tokens = 0;
    return hand;
  }

  async function refill(hand: Hand, project: string, rate: Rate): Promise<void> {
    const ahead = Math.ceil(rate.ratePerSecond * AHEAD_SECONDS);
    const wanted = Math.max(hand.wanted, ahead);
    const draw = await database.run((sql) => drawAllowance(sql, project, wanted, rate));
    hand.tokens += draw.granted;
    hand.keptUntilMs = nowMs() + KEPT_MS;
    if (draw.granted === wanted) return;
    const waitMs = (draw.nextInSeconds ?? Number.POSITIVE_INFINITY) * 1000;
    const boundMs = Math.min(LONGEST_REFUSAL_MS, Math.max(SHORTEST_REFUSAL_MS, waitMs));
    hand.refusedUntilMs = nowMs() + boundMs;
  }

  return {
    async draw(project, wanted, ratePerSecond, givenBurst) {
      const burst = ratePerSecond === 0 ? 0 : (givenBurst ?? Math.max(1, Math.ceil(ratePerSecond)));
      const hand = handOf(project);
      hand.wanted += wanted;
      try {
        // Whoever comes to an empty hand draws for all that wait; a refusal ends it for all of them.
        while (hand.tokens < wanted && nowMs() >= hand.refusedUntilMs) {
          hand.drawing ??= refill(hand, project, { ratePerSecond, burst }).finally(() => {
            hand.drawing = null;
          });
          await hand.drawing;
        }
      } finally {
        hand.wanted -= wanted;
      }
      const granted = Math.min(wanted, hand.tokens);
      hand.tokens -= granted;
      return { granted, nextInSeconds: nextIn(hand, ratePerSecond) };
    },
    giveBack(project, unused) {
      handOf(project).tokens += unused;
    },
  };

  function nextIn(hand: Hand, ratePerSecond: number): number | null {
    if (ratePerSecond === 0) return null;
    return Math.max(0, hand.refusedUntilMs - nowMs(), 1000 / ratePerSecond) / 1000;
  }
}

interface Rate {
  ratePerSecond: number;
  burst: number;
}
