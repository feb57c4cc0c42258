/** How far a drain has come. */
export interface DrainProgress {
  done: number;
  /** What there was to do, as far as is known. */
  total: number;
  inFlight: number;
}

export interface ProgressOutput {
  write(text: string): unknown;
  isTTY?: boolean;
}

const BAR_CHARACTERS = 30;
/** Without a terminal a line is written when something changed, and no more often than this. */
const LINE_EVERY_MS = 1_000;

/** Shows progress: a bar that redraws itself on a terminal, now and then a line elsewhere. */
export function createProgressView(output: ProgressOutput, nowMs: () => number) {
  let shown = '';
  let shownAtMs = Number.NEGATIVE_INFINITY;

  return {
    show(progress: DrainProgress): void {
      const text = progressText(progress);
      if (output.isTTY) output.write(`\r\x1b[2K${progressBar(progress)} ${text}`);
      else if (text !== shown && nowMs() - shownAtMs >= LINE_EVERY_MS) {
        output.write(`${text}\n`);
        shownAtMs = nowMs();
      }
      shown = text;
    },
    /** Takes the bar away. */
    end(): void {
      if (output.isTTY && shown !== '') output.write('\r\x1b[2K');
    },
  };
}

function progressText({ done, total, inFlight }: DrainProgress): string {
  return `${done} of ${total} done, ${inFlight} in flight`;
}

function progressBar({ done, total }: DrainProgress): string {
  const filled = total === 0 ? BAR_CHARACTERS : Math.floor((done / total) * BAR_CHARACTERS);
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_CHARACTERS - filled)}]`;
}
