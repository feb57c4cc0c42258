import { spawn } from 'node:child_process';
import { basename } from 'node:path';
import { ErrandError } from '../errors.ts';
import { type Account, asAccount } from './account.ts';

const LINES_TOLD = 5;

/** The least that PostgreSQL needs: no PG* variable of ours may lead it elsewhere; messages in English. */
export const PROGRAM_ENVIRONMENT = { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C' };

/**
 * Runs a program of PostgreSQL to its end, with `input` on its standard input.
 * @throws ErrandError `embedded-postgres-failed`, with the last lines of what the program said
 */
export async function runProgram(
  program: string,
  args: string[],
  { account, input = '' }: { account: Account | null; input?: string },
): Promise<void> {
  const child = spawn(program, args, {
    ...asAccount(account),
    cwd: '/',
    env: PROGRAM_ENVIRONMENT,
    stdio: 'pipe',
  });
  const said: Buffer[] = [];
  child.stdout.on('data', (chunk) => said.push(chunk));
  child.stderr.on('data', (chunk) => said.push(chunk));
  child.stdin.on('error', () => {}); // It ended without reading; its exit status tells why.
  child.stdin.end(input);
  const status = await new Promise<number | string | null>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', resolve);
  });
  if (status === 0) return;
  throw new ErrandError(
    'embedded-postgres-failed',
    `${basename(program)} failed (${status}): ${lastLines(Buffer.concat(said).toString())}`,
  );
}

/** What a program said last, for an error message. */
export function lastLines(text: string): string {
  return text.trim().split('\n').slice(-LINES_TOLD).join('\n');
}
