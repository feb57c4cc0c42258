import { readFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import type { Sql } from '../../src/store/database.ts';

/** What figures depend on besides the code. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGib: number;
  node: string;
  postgres: string;
}

export async function describeMachine(sql: Sql): Promise<Machine> {
  const [row] = await sql<
    { version: string }[]
  >`select current_setting('server_version') as version`;
  const [cpu] = cpus();
  return {
    cpu: cpu?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    postgres: row!.version,
  };
}

/** Seconds of processor time a process has used; null where there is no /proc (proc(5), in 1/100 s). */
export async function processorSeconds(pid: number): Promise<number | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (stat === null) return null;
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
