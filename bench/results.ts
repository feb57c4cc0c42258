import type { DrainFigures } from './figures/drain.ts';
import type { EnqueueFigures } from './figures/enqueue.ts';
import type { IdleFigures } from './figures/idle.ts';
import type { LatencyFigures } from './figures/latency.ts';
import type { SustainedFigures } from './figures/sustained.ts';
import type { RowName } from './row.ts';

/** What a run has measured; null or absent where it was not asked to. */
export interface Results {
  /** Drain and batch enqueue: one needs the other. */
  drain: DrainFigures | null;
  sustained: SustainedFigures | null;
  enqueue: EnqueueFigures | null;
  latency: LatencyFigures | null;
  idle: IdleFigures | null;
  /** The most memory that each row's process has held, in MB of 2^20. */
  peakMb: Partial<Record<RowName, number>>;
}
