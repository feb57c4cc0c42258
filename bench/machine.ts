import { readFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import type { Sql } from '../src/store/database.ts';

/** What figures depend on besides the code. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGib: number;
  node: string;
  /** Null where there was none. */
  postgres: string | null;
}

export async function describeMachine(sql: Sql | null): Promise<Machine> {
  const [cpu] = cpus();
  return {
    cpu: cpu?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    postgres: sql && (await versionOf(sql)),
  };
}

async function versionOf(sql: Sql): Promise<string> {
  const [row] = await sql<
    { version: string }[]
  >`select current_setting('server_version') as version`;
  return row!.version;
}

/** Seconds of processor time a process has used; null where there is no /proc. */
export async function processorSeconds(pid: number): Promise<number | null> {
  return (await readProcess(pid))?.seconds ?? null;
}

/** What proc(5) tells of a process. */
export interface ProcessFacts {
  parent: number;
  /** Of processor time, kept in 1/100 s: its own, and that of its children that have ended. */
  seconds: number;
  endedSeconds: number;
}

/** Null where there is no such process, or no /proc. */
export async function readProcess(pid: number): Promise<ProcessFacts | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (stat === null) return null;
  // The second field, the command, may hold spaces and parentheses: count from its end.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  return {
    parent: fields[1]!,
    seconds: (fields[11]! + fields[12]!) / 100,
    endedSeconds: (fields[13]! + fields[14]!) / 100,
  };
}
