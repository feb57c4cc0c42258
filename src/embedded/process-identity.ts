import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * A short name for the one process that has `pid` now, made from the time it started, because pids
 * are used again; null when there is none. A zombie counts as none.
 */
export async function identifyProcess(pid: number): Promise<string | null> {
  const started = process.platform === 'linux' ? await startedByProc(pid) : await startedByPs(pid);
  if (started === null) return null;
  return createHash('sha256').update(`${pid} ${started}`).digest('hex').slice(0, 12);
}

/** The command line of a running process, its arguments joined by spaces; empty when there is none. */
export async function readCommand(pid: number): Promise<string> {
  if (process.platform !== 'linux') return (await ps('command=', pid)) ?? '';
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return line.replaceAll('\0', ' ');
}

async function startedByProc(pid: number): Promise<string | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (stat === null) return null;
  // The second field, the command, may hold spaces and parentheses: count from its end (proc(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z') return null;
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return `${boot.trim()} ${fields[19]}`;
}

async function startedByPs(pid: number): Promise<string | null> {
  if ((await ps('stat=', pid))?.startsWith('Z')) return null;
  return ps('lstart=', pid);
}

async function ps(column: string, pid: number): Promise<string | null> {
  try {
    return (await run('ps', ['-o', column, '-p', String(pid)])).stdout.trim() || null;
  } catch {
    return null; // `ps` fails when there is no such process.
  }
}
