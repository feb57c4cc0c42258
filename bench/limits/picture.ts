import type { Course } from './disturbances.ts';
import { type Panel, panelOfPlaces, panelOfRate } from './panels.ts';
import type { Arrival } from './sighting.ts';
import type { Period } from './windows.ts';

const WIDTH = 960;
const LEFT = 48;
const RIGHT = 24;
const TOP = 40;
const PANEL = { height: 120, title: 30 };
const BOTTOM = 44;
const STYLE = `
  svg { background: #fff; color-scheme: light dark; }
  text { font: 12px system-ui, sans-serif; fill: #3d444d; paint-order: stroke; stroke: #fff; stroke-width: 4px; }
  .title { font-weight: 600; }
  .bar { fill: #5b8fc7; }
  .allowed { fill: none; stroke: #c62828; stroke-width: 1.5; }
  .rate { fill: none; stroke: #3d444d; stroke-dasharray: 2 3; }
  .axis, .mark { stroke: #8c959f; }
  .mark { stroke-dasharray: 4 3; }
  .recovery { fill: #8c959f; opacity: 0.15; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    text { fill: #d1d7e0; stroke: #0d1117; }
    .bar { fill: #4a86c5; }
    .allowed { stroke: #ff7b72; }
    .rate { stroke: #d1d7e0; }
  }`;

/** An SVG of the run: each limited queue's calls, the line they must not cross, and what happened when. */
export function drawCourse(course: Course, arrivals: readonly Arrival[]): string {
  const { whole } = course;
  const panels = [
    panelOfRate('rate: calls in each second', 'rate', course, arrivals),
    panelOfPlaces('concurrency: most calls at once in each half second', course, arrivals),
    panelOfRate('flow: calls of the busiest key in each second', 'flow', course, arrivals),
  ];
  const height = topOf(panels.length) - PANEL.title + BOTTOM;
  const x = (atMs: number) =>
    LEFT + ((atMs - whole.fromMs) / (whole.toMs - whole.fromMs)) * (WIDTH - LEFT - RIGHT);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    '<title>Calls as seen at the target, and what the limits allow, over one run of bench:limits</title>',
    `<style>${STYLE}\n</style>`,
    ...drawRecovery(course, x, height - BOTTOM),
    ...panels.flatMap((panel, index) => drawPanel(panel, x, topOf(index))),
    ...drawMarks(course, x, height - BOTTOM),
    ...panels.map((panel, index) => drawTitle(panel, topOf(index) - 8)),
    ...drawSeconds(whole, x, height - BOTTOM),
    `<text x="${WIDTH - RIGHT}" y="${height - 7}" text-anchor="end">grey: until what was disturbed has settled</text>`,
    '</svg>',
  ].join('\n');
}

type Scale = (value: number) => number;

function drawPanel({ slices }: Panel, x: Scale, top: number): string[] {
  const most = Math.max(...slices.map(({ seen, allowed }) => Math.max(seen, allowed)));
  const bottom = top + PANEL.height;
  const y: Scale = (value) => bottom - (value / (most * 1.05)) * PANEL.height;
  const line = (level: (slice: Panel['slices'][number]) => number) =>
    slices
      .map((slice, index) => {
        const [from, to, at] = [slice.period.fromMs, slice.period.toMs, level(slice)];
        return `${index === 0 ? 'M' : 'L'}${round(x(from))},${round(y(at))}H${round(x(to))}`;
      })
      .join('');
  const bars = slices.map(({ period, seen }) => {
    const [left, width] = [x(period.fromMs), x(period.toMs) - x(period.fromMs)];
    return `M${round(left + 0.5)},${bottom}V${round(y(seen))}h${round(Math.max(width - 1, 0.5))}V${bottom}Z`;
  });
  return [
    `<path class="bar" d="${bars.join('')}"/>`,
    ...(hasRate(slices) ? [`<path class="rate" d="${line(({ rate }) => rate!)}"/>`] : []),
    `<path class="allowed" d="${line(({ allowed }) => allowed)}"/>`,
    `<path class="axis" d="M${LEFT},${bottom}H${WIDTH - RIGHT}"/>`,
    ...ticks(most).map(
      (value) =>
        `<text x="${LEFT - 8}" y="${round(y(value) + 4)}" text-anchor="end">${value}</text>`,
    ),
  ];
}

function drawTitle({ title, slices }: Panel, y: number): string {
  const key = hasRate(slices)
    ? '(red: the most any second may hold, dotted: the rate)'
    : '(red: places)';
  return `<text x="${LEFT}" y="${y}"><tspan class="title">${title}</tspan> ${key}</text>`;
}

function hasRate(slices: Panel['slices']): boolean {
  return slices.some(({ rate }) => rate !== null);
}

function topOf(panel: number): number {
  return TOP + panel * (PANEL.height + PANEL.title) + PANEL.title;
}

/** A shade while the effects of a disturbance may last. */
function drawRecovery({ disturbances }: Course, x: Scale, bottom: number): string[] {
  return disturbances.map(({ fromMs, toMs }) => {
    const [left, right] = [round(x(fromMs)), round(x(toMs))];
    return `<path class="recovery" d="M${left},${TOP - 8}H${right}V${bottom}H${left}Z"/>`;
  });
}

/** A line through all panels where something happened. */
function drawMarks({ disturbances, changes }: Course, x: Scale, bottom: number): string[] {
  // The limits are changed together: one mark tells of all of them.
  const patches = changes.filter((change) => change.queue === changes[0]!.queue);
  const marks = [
    ...disturbances.map(({ name, fromMs }) => ({ name, atMs: fromMs })),
    ...patches.map(({ from, to, answeredMs }) => ({
      name: to < from ? 'PATCH ↓' : 'PATCH ↑',
      atMs: answeredMs,
    })),
  ];
  return marks.flatMap(({ name, atMs }) => {
    const at = round(x(atMs));
    return [
      `<path class="mark" d="M${at},${TOP - 8}V${bottom}"/>`,
      `<text x="${at}" y="${TOP - 14}" text-anchor="middle">${name}</text>`,
    ];
  });
}

function drawSeconds({ fromMs, toMs }: Period, x: Scale, bottom: number): string[] {
  const seconds = (toMs - fromMs) / 1000;
  const every = seconds > 60 ? 10 : 5;
  return Array.from({ length: Math.floor(seconds / every) + 1 }, (_, index) => {
    const second = index * every;
    const label = `${second}${index === 0 ? ' s' : ''}`;
    return `<text x="${round(x(fromMs + second * 1000))}" y="${bottom + 18}" text-anchor="middle">${label}</text>`;
  });
}

/** Round numbers from 0 to the most, four of them at most. */
function ticks(most: number): number[] {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((size) => most / size <= 4) ?? most;
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
