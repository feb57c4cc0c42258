/** Imported before a process's own code: its wall clock goes wrong by CHAOS_CLOCK_SHIFT_SECONDS. */
const shiftMs = Number(process.env.CHAOS_CLOCK_SHIFT_SECONDS) * 1_000;
const RightDate = Date;

globalThis.Date = class extends RightDate {
  constructor(...args: [] | [number]) {
    if (args.length === 0) super(RightDate.now() + shiftMs);
    else super(...args);
  }
  static override now(): number {
    return RightDate.now() + shiftMs;
  }
} as DateConstructor;
