import { setTimeout as delay } from 'node:timers/promises';
import type { Log } from '../log.ts';

interface Pausable {
  pause(): void;
  resume(): Promise<void>;
}

const RETRY_MS = 1_000;

/**
 * SIGUSR2 pauses claiming for the whole process, and SIGCONT resumes that pause only: after a SIGSTOP
 * it finds nothing to do. Watches from now on; what came before `attach` was called is done then.
 */
export function watchPauseSignals(log: Log): (service: Pausable) => void {
  let service: Pausable | undefined;
  let isPaused = false;
  // Each signal makes those before it old news.
  let turn = 0;

  function pause(): void {
    turn += 1;
    isPaused = true;
    service?.pause();
    log.info({}, 'paused by SIGUSR2: no new claims, calls in flight go on; SIGCONT resumes');
  }

  async function resume(): Promise<void> {
    if (!isPaused) return;
    isPaused = false;
    turn += 1;
    const mine = turn;
    // Our shards may be another's by now: without a heartbeat nobody knows.
    while (turn === mine) {
      try {
        await service?.resume();
        if (isPaused) service?.pause();
        else log.info({}, 'resumed by SIGCONT');
        return;
      } catch (error) {
        log.warn({ error: String(error) }, 'not resumed yet, trying again');
        await delay(RETRY_MS);
      }
    }
  }

  process.on('SIGUSR2', pause);
  process.on('SIGCONT', () => void resume());
  return (started) => {
    service = started;
    if (isPaused) service.pause();
  };
}
