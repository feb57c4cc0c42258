/** What was measured at one size. */
export interface Point {
  /** The size. */
  x: number;
  /** Of the drains, the median. */
  tasksPerSecond: number;
  /** From before a task is sent until the first byte of its call, in a system that is otherwise at rest. */
  p99Ms: number;
  /** Of all processors together, 0 to 1, while it drained. */
  busyShare: number;
}

/** One quantity that grows, and all others as they are by default. */
export interface Series {
  title: string;
  /** What x counts. */
  unit: string;
  isLogarithmic: boolean;
  /** What the rate may be expected to do: stay, or grow as the size does. */
  ideal: 'flat' | 'linear';
  points: Point[];
}

/** The rate at a point as a share of what the first point lets expect. */
export function shareOfIdeal({ ideal, points }: Series, point: Point): number {
  const first = points[0]!;
  const expected = ideal === 'flat' ? 1 : point.x / first.x;
  return point.tasksPerSecond / first.tasksPerSecond / expected;
}

/** The powers of ten from one exponent to another, none larger than `largest`. */
export function powersOfTen(from: number, to: number, largest: number): number[] {
  const exponents = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  return exponents.map((exponent) => 10 ** exponent).filter((power) => power <= largest);
}
