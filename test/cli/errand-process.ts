import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { until } from '../support/until.ts';

const ENTRY = join(import.meta.dirname, '..', '..', 'src', 'cli', 'errand.ts');

/** `errand` as a process of its own, with nothing of our environment but the way to programs. */
export interface ErrandProcess {
  child: ChildProcess;
  stdout(): string;
  stderr(): string;
  /** Waits until `pattern` was printed; throws when the process ends before. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  /** The exit code, null after a signal that was not handled. */
  ended: Promise<number | null>;
}

export function spawnErrand(
  args: readonly string[],
  env: Record<string, string> = {},
  entry: string = ENTRY,
): ErrandProcess {
  const { PATH = '', HOME = '' } = process.env;
  const child = spawn(process.execPath, [entry, ...args], {
    env: { PATH, HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });

  function find(pattern: RegExp): RegExpExecArray | null {
    const match = pattern.exec(stdout + stderr);
    if (match || child.exitCode === null) return match;
    throw new Error(`errand ended without saying ${pattern}:`);
  }

  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    async says(pattern) {
      const options = { timeoutMs: 25_000, what: String(pattern) };
      return until(() => find(pattern), options).catch((error: Error) => {
        throw new Error(`${error.message}\n${stdout}${stderr}`, { cause: error });
      });
    },
    ended: once(child, 'close').then(([code]) => code),
  };
}

/** Runs a command to its end. */
export async function runErrand(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const errand = spawnErrand(args, env);
  const code = await errand.ended;
  return { code, stdout: errand.stdout(), stderr: errand.stderr() };
}
