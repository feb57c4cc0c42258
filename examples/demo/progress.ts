/** How far it is. */
export interface Progress {
  done: number;
  total: number;
  /** What is said beside the bar. */
  text: string;
}

const BAR_CELLS = 20;
const PLAIN_EVERY_MS = 1_000;

/**
 * Shows progress: a bar that is drawn over on a terminal, elsewhere (a log, a pipe) a plain line
 * about once a second. `end` draws the last state and goes to the next line.
 */
export function createProgress(stream: NodeJS.WriteStream): {
  update(progress: Progress): void;
  end(): void;
} {
  let last: Progress | null = null;
  let shownAt = Number.NEGATIVE_INFINITY;
  const show = (progress: Progress): void => {
    shownAt = performance.now();
    // A line that wraps could not be drawn over.
    const width = (stream.columns ?? 80) - 1;
    if (stream.isTTY) stream.write(`\r\u001b[2K${barLine(progress).slice(0, width)}`);
    else stream.write(`${plainLine(progress)}\n`);
  };
  return {
    update(progress) {
      last = progress;
      if (stream.isTTY || performance.now() - shownAt >= PLAIN_EVERY_MS) show(progress);
    },
    end() {
      if (last !== null) show(last);
      last = null;
      if (stream.isTTY) stream.write('\n');
    },
  };
}

export function barLine({ done, total, text }: Progress): string {
  const filled = Math.round(BAR_CELLS * share(done, total));
  const bar = '█'.repeat(filled) + '░'.repeat(BAR_CELLS - filled);
  return `  ${bar} ${percent(done, total)}   ${text}`;
}

export function plainLine({ done, total, text }: Progress): string {
  return `  ${percent(done, total)}   ${text}`;
}

/** Never 100 % while something remains. */
function percent(done: number, total: number): string {
  return `${Math.floor(100 * share(done, total))} %`.padStart(5);
}

function share(done: number, total: number): number {
  return total === 0 ? 1 : Math.min(1, done / total);
}
