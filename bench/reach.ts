import type { Results } from './results.ts';

/** One figure that the project is to reach, and what came. */
export interface Reach {
  figure: string;
  toReach: string;
  measured: number;
  isMet: boolean;
}

/** Of the figures that were measured, which are reached. */
export function judge(results: Results): Reach[] {
  return [
    ...drainReach(results),
    ...enqueueReach(results),
    ...latencyReach(results),
    ...costReach(results),
  ];
}

function drainReach({ drain, sustained }: Results): Reach[] {
  const errand = drain?.errand;
  const plain = drain?.['plain-loop'];
  const graphile = drain?.['graphile-worker'];
  return [
    ...(errand && plain
      ? [atLeast('drain ÷ plain loop', 1.3, errand.drainRate / plain.drainRate)]
      : []),
    ...(errand && graphile
      ? [
          atLeast('drain ÷ graphile-worker', 1.6, errand.drainRate / graphile.drainRate),
          atLeast('batch enqueue ÷ addJobs', 1, errand.batchRate! / graphile.batchRate!),
        ]
      : []),
    ...(sustained
      ? [atLeast('sustained ÷ plain loop', 0.5, sustained.rate / sustained.plainRate)]
      : []),
  ];
}

function enqueueReach({ enqueue }: Results): Reach[] {
  if (enqueue === null) return [];
  return [atLeast('single enqueue ÷ no-op route', 0.6, enqueue.rate / enqueue.noopRate)];
}

function latencyReach({ latency }: Results): Reach[] {
  const errand = latency?.errand;
  if (errand === undefined) return [];
  const { fromAcknowledged, fromSent } = errand;
  return [
    atMost('201 → first byte, p50 (ms)', 1.2, fromAcknowledged.p50),
    atMost('201 → first byte, p99 (ms)', 4, fromAcknowledged.p99),
    atMost('enqueue sent → first byte, p50 (ms)', 3, fromSent.p50),
    atMost('enqueue sent → first byte, p99 (ms)', 8, fromSent.p99),
  ];
}

function costReach({ idle, peakMb }: Results): Reach[] {
  return [
    ...(peakMb.errand === undefined ? [] : [atMost('peak RSS (MB)', 250, peakMb.errand)]),
    ...(idle === null
      ? []
      : [
          atMost('idle, statements/s', 10, idle.statementsPerSecond),
          atMost('idle, CPU with Postgres (%)', 1, idle.processPercent + idle.databasePercent),
        ]),
  ];
}

function atLeast(figure: string, bound: number, measured: number): Reach {
  return { figure, toReach: `≥ ${bound}`, measured, isMet: measured >= bound };
}

function atMost(figure: string, bound: number, measured: number): Reach {
  return { figure, toReach: `≤ ${bound}`, measured, isMet: measured <= bound };
}
