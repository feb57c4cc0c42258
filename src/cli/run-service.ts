import { setFlagsFromString } from 'node:v8';
import { type Config, defaultPublicUrl } from '../config.ts';
import { ErrandError } from '../errors.ts';
import { reportError } from './explain-error.ts';
import { createLog } from './log.ts';
import { watchPauseSignals } from './pause-signals.ts';

/**
 * A terminal's Ctrl-C reaches npm and us, and npm passes it on: we get it twice within moments. So
 * only a signal that comes later than this is a second one.
 */
const SAME_SIGNAL_MS = 300;

/**
 * What is old in the heap is collected when it has grown by 75 %: V8's choice, 300 % on a machine with much memory, made
 * 225 MB of a process that needs 60. What is young is collected by one thread: each task lives for some ten
 * milliseconds, so there is little to share out, and doing so took a tenth of the processors from everything else.
 * They are set here, for V8 knows a container's limit and keeps below it by itself.
 */
const MEMORY_FLAGS = ['--heap-growing-percent=75', '--no-parallel-scavenge'];

/** Beyond the time for draining: a stop that hangs all the same ends the process. */
const STOP_MARGIN_SECONDS = 15;

/**
 * Runs the service until SIGTERM or SIGINT (it drains and ends with 0; with 130 at once at a second
 * signal), or until it fails (1). `announce` is called when it is up.
 */
export async function runService(
  config: Config,
  announce: (url: string | null) => void = () => {},
): Promise<void> {
  for (const flag of MEMORY_FLAGS) setFlagsFromString(flag);
  const log = createLog(config);
  const { startErrand } = await import('../main.ts');
  const stopAsked = watchSignals();
  const attachPause = watchPauseSignals(log);
  const service = await startErrand(config, log);
  attachPause(service);
  announce(service.url);
  warnOfPublicUrl(config, log);

  const failure = await Promise.race([stopAsked, service.failed]);
  if (failure) reportError(failure);
  else log.info({}, 'stopping: waiting for calls in flight to end');
  try {
    await withBound(service.stop(), config.drainSeconds + STOP_MARGIN_SECONDS);
  } catch (error) {
    reportError(error);
  }
  process.exit(); // Nothing that still holds the process open is worth waiting for.
}

/** Resolves to null at the first signal; the handlers stay, for the second. */
export function watchSignals(): Promise<null> {
  return new Promise((resolve) => {
    let first: number | undefined;
    function onSignal(): void {
      const now = performance.now();
      first ??= now;
      if (now - first > SAME_SIGNAL_MS) process.exit(130);
      resolve(null);
    }
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}

async function withBound(stop: Promise<void>, seconds: number): Promise<void> {
  const { promise: passed, reject } = Promise.withResolvers<never>();
  const error = new ErrandError('stop-hung', `The service did not stop within ${seconds} s`);
  const timer = setTimeout(reject, seconds * 1000, error);
  await Promise.race([stop, passed]).finally(() => clearTimeout(timer));
}

/** Whoever listens on every address means to be reached from elsewhere. */
function warnOfPublicUrl(config: Config, log: ReturnType<typeof createLog>): void {
  const { mode, host, port, publicUrl } = config;
  const isEverywhere = host === '0.0.0.0' || host === '::';
  if (mode === 'dev' || !isEverywhere || publicUrl !== defaultPublicUrl(host, port)) return;
  log.warn(
    { publicUrl },
    'ERRAND_PUBLIC_URL is not set: workers on other machines cannot fetch the keys that check our tokens',
  );
}
