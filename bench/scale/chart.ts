import { compact, verdict } from './report.ts';
import type { Point, Series } from './series.ts';

const PANEL = { width: 400, height: 130 };
const LEFT = 56;
const GAP = 76;
const RIGHT = 24;
const TOP = 44;
const ROW_HEIGHT = PANEL.height + 92;
const WIDTH = LEFT + PANEL.width + GAP + PANEL.width + RIGHT;
const STYLE = `
  svg { background: #fff; color-scheme: light dark; }
  text { font: 12px system-ui, sans-serif; fill: #3d444d; }
  .title { font-weight: 600; }
  .value { font-size: 11px; }
  .line { fill: none; stroke: #2f6fb3; stroke-width: 2; }
  .dot { fill: #2f6fb3; }
  .ideal { fill: none; stroke: #8c959f; stroke-dasharray: 4 3; }
  .axis { stroke: #8c959f; fill: none; }
  .grid { stroke: #8c959f; opacity: 0.25; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    text { fill: #d1d7e0; }
    .line { stroke: #6cb0ff; }
    .dot { fill: #6cb0ff; }
  }`;

type Scale = (value: number) => number;

/** An SVG with a row for each series: tasks a second at the left, p99 at the right. */
export function drawSeries(all: readonly Series[]): string {
  const height = TOP + all.length * ROW_HEIGHT;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    '<title>Tasks a second and p99 against backlog, history, queues, payload, dispatchers and time</title>',
    `<style>${STYLE}\n</style>`,
    ...all.flatMap((series, index) => drawRow(series, TOP + index * ROW_HEIGHT)),
    '</svg>',
  ].join('\n');
}

function drawRow(series: Series, top: number): string[] {
  const right = LEFT + PANEL.width + GAP;
  return [
    `<text class="title" x="${LEFT}" y="${top - 22}">${series.title} — ${verdict(series)}</text>`,
    `<text x="${LEFT}" y="${top - 6}">tasks/s (dashed: ${series.ideal})</text>`,
    `<text x="${right}" y="${top - 6}">p99 in ms, enqueue sent to first byte at the target (log)</text>`,
    ...drawPanel(series, { left: LEFT, top }, rateAxis(series)),
    ...drawPanel(series, { left: right, top }, latencyAxis(series)),
  ];
}

/** What is drawn upwards: from where to where, with which marks. */
interface Axis {
  isLogarithmic: boolean;
  from: number;
  to: number;
  ticks: number[];
  value: (point: Point) => number;
  ideal: ((point: Point) => number) | null;
}

/** The label of the highest point has room below the panel's title. */
const HEADROOM = 1.15;

function rateAxis({ points, ideal }: Series): Axis {
  const first = points[0]!;
  const value = (point: Point) => point.tasksPerSecond;
  const idealOf = (point: Point) =>
    first.tasksPerSecond * (ideal === 'linear' ? point.x / first.x : 1);
  const highest = Math.max(...points.map((point) => Math.max(value(point), idealOf(point))));
  const most = highest * HEADROOM;
  const step = stepFor(most);
  const ticks = Array.from({ length: Math.ceil(most / step) + 1 }, (_, index) => index * step);
  return { isLogarithmic: false, from: 0, to: ticks.at(-1)!, ticks, value, ideal: idealOf };
}

function latencyAxis({ points }: Series): Axis {
  const most = Math.max(100, ...points.map(({ p99Ms }) => p99Ms));
  const decades = Math.ceil(Math.log10(most));
  const ticks = Array.from({ length: decades + 1 }, (_, index) => 10 ** index);
  return {
    isLogarithmic: true,
    from: 1,
    to: ticks.at(-1)!,
    ticks,
    value: ({ p99Ms }) => Math.max(1, p99Ms),
    ideal: null,
  };
}

function drawPanel(
  { points, unit, isLogarithmic }: Series,
  { left, top }: { left: number; top: number },
  axis: Axis,
): string[] {
  const bottom = top + PANEL.height;
  const right = left + PANEL.width;
  const xs = points.map((point) => point.x);
  const inner = 24;
  const x = scale(Math.min(...xs), Math.max(...xs), left + inner, right - inner, isLogarithmic);
  const y = scale(axis.from, axis.to, bottom, top, axis.isLogarithmic);
  const path = (value: (point: Point) => number) =>
    points
      .map(
        (point, index) =>
          `${index === 0 ? 'M' : 'L'}${round(x(point.x))},${round(y(value(point)))}`,
      )
      .join('');
  return [
    ...axis.ticks.flatMap((tick) => [
      `<path class="grid" d="M${left},${round(y(tick))}H${right}"/>`,
      `<text x="${left - 8}" y="${round(y(tick) + 4)}" text-anchor="end">${tick.toLocaleString('en')}</text>`,
    ]),
    `<path class="axis" d="M${left},${top}V${bottom}H${right}"/>`,
    ...(axis.ideal === null ? [] : [`<path class="ideal" d="${path(axis.ideal)}"/>`]),
    `<path class="line" d="${path(axis.value)}"/>`,
    ...points.flatMap((point) => drawPoint(point, axis, { x, y, bottom })),
    `<text x="${(left + right) / 2}" y="${bottom + 34}" text-anchor="middle">${unit}${isLogarithmic ? ' (log)' : ''}</text>`,
  ];
}

function drawPoint(
  point: Point,
  { value }: Axis,
  { x, y, bottom }: { x: Scale; y: Scale; bottom: number },
): string[] {
  const [at, height] = [round(x(point.x)), round(y(value(point)))];
  return [
    `<circle class="dot" cx="${at}" cy="${height}" r="3"/>`,
    `<text x="${at}" y="${bottom + 17}" text-anchor="middle">${compact(point.x)}</text>`,
    `<text class="value" x="${at}" y="${round(height - 8)}" text-anchor="middle">${shown(value(point))}</text>`,
  ];
}

function scale(from: number, to: number, low: number, high: number, isLogarithmic: boolean): Scale {
  const measure = (value: number) => (isLogarithmic ? Math.log10(value) : value);
  const span = measure(to) - measure(from);
  if (span === 0) return () => (low + high) / 2;
  return (value) => low + ((measure(value) - measure(from)) / span) * (high - low);
}

/** A round number of which at most four make the whole. */
function stepFor(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most / 4));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => most / step <= 4)!;
}

function shown(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
