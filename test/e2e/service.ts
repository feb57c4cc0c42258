import { once } from 'node:events';
import { createClient, type ErrandClient } from 'errand/client';
import { type ErrandProcess, spawnErrand } from '../cli/errand-process.ts';

export const ADMIN_KEY = 'a-key-for-tests-of-at-least-24-characters';

export interface Service {
  process: ErrandProcess;
  url: string;
  client: ErrandClient;
  /** Sends the signal and waits for the end; returns the exit code (null after SIGKILL). */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** `errand serve` as a real process on this database, ready to be called; of `entry`, if it is given. */
export async function startService(
  databaseUrl: string,
  env: Record<string, string> = {},
  entry?: string,
): Promise<Service> {
  const errand = spawnErrand(
    ['serve'],
    {
      DATABASE_URL: databaseUrl,
      ERRAND_ADMIN_KEY: ADMIN_KEY,
      ERRAND_PORT: '0',
      ERRAND_TARGET_ALLOW: 'loopback',
      ...env,
    },
    entry,
  );
  const [, url] = await errand.says(/"url":"(http:[^"]+)".*"msg":"errand is up"/);
  return {
    process: errand,
    url: url!,
    client: createClient({ url: url!, key: ADMIN_KEY }),
    async end(signal) {
      if (errand.child.exitCode === null) errand.child.kill(signal);
      return errand.ended;
    },
  };
}

/** For a process that must not outlive its test, whatever became of it. */
export async function killHard(service: Service | undefined): Promise<void> {
  const child = service?.process.child;
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'close');
}
