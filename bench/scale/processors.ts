import { cpus } from 'node:os';

/** Milliseconds of all processors together. */
export interface ProcessorTimes {
  idle: number;
  all: number;
}

export function readProcessors(): ProcessorTimes {
  const times = cpus().map((cpu) => cpu.times);
  const sum = (values: number[]) => values.reduce((left, right) => left + right, 0);
  return {
    idle: sum(times.map(({ idle }) => idle)),
    all: sum(times.flatMap((time) => Object.values(time))),
  };
}

/** Of all processors together, 0 to 1. */
export function busyShareSince(before: ProcessorTimes): number {
  const after = readProcessors();
  return 1 - (after.idle - before.idle) / Math.max(1, after.all - before.all);
}
