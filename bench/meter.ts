import { readdir, readFile } from 'node:fs/promises';
import type { Cleanup } from '../examples/demo/cleanup.ts';
import { connect, type Sql } from '../src/store/database.ts';
import { processorSeconds, readProcess } from './machine.ts';

/** What was used since the beginning; of what there is none, 0. */
export interface Reading {
  processSeconds: number;
  /** Processor time of every process of its Postgres, or of its Redis. */
  storeSeconds: number;
  walBytes: number;
  /** Transactions that wrote. */
  commits: number;
}

export interface Meter {
  read(): Promise<Reading>;
  /** The most memory that the process has held (MB of 2^20), since it was started. */
  peakMb(): Promise<number>;
  /** Postgres alone: every transaction, a reading one too. A session tells its own within 10 s of idling. */
  transactions(): Promise<number>;
  /** Its Postgres, if it has one. */
  sql: Sql | null;
}

interface Metered {
  pid: number;
  databaseUrl: string | null;
  /** Its store, where that is a single process. */
  storePid?: number;
}

/** Reads what a row costs from outside: from /proc (Linux only) and from its Postgres. */
export async function openMeter(metered: Metered, cleanup: Cleanup): Promise<Meter> {
  const { pid, databaseUrl, storePid } = metered;
  const sql = databaseUrl === null ? null : openSql(databaseUrl, cleanup);
  const postmaster = sql === null ? null : await postmasterOf(sql);

  async function storeSeconds(): Promise<number> {
    if (postmaster !== null) return familySeconds(postmaster);
    return storePid === undefined ? 0 : secondsOf(storePid);
  }

  return {
    sql,
    async read() {
      const written = sql === null ? { walBytes: 0, commits: 0 } : await readWritten(sql);
      const processSeconds = await secondsOf(pid);
      return { processSeconds, storeSeconds: await storeSeconds(), ...written };
    },
    async peakMb() {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      return Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]) / 1024;
    },
    async transactions() {
      const [row] = await sql!<{ count: number }[]>`
        select (xact_commit + xact_rollback)::float8 as count
        from pg_stat_database where datname = current_database()`;
      return row!.count;
    },
  };
}

/** What `after` has more. */
export function difference(before: Reading, after: Reading): Reading {
  return map(after, (key, value) => value - before[key]);
}

export function perTask(used: Reading, tasks: number): Reading {
  return map(used, (_, value) => value / tasks);
}

function map(reading: Reading, change: (key: keyof Reading, value: number) => number): Reading {
  const entries = Object.entries(reading) as [keyof Reading, number][];
  return Object.fromEntries(entries.map(([key, value]) => [key, change(key, value)])) as never;
}

function openSql(url: string, cleanup: Cleanup): Sql {
  const sql = connect({ url, connections: 1, name: 'bench' });
  cleanup.add(() => sql.end({ timeout: 1 }));
  return sql;
}

/** Only a transaction that writes takes a number, and one at most: the numbers count them. */
async function readWritten(sql: Sql): Promise<{ walBytes: number; commits: number }> {
  const [row] = await sql<{ walBytes: number; commits: number }[]>`
    select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as "walBytes",
      pg_snapshot_xmax(pg_current_snapshot())::text::float8 as commits`;
  return row!;
}

async function postmasterOf(sql: Sql): Promise<number> {
  const [row] = await sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
  return (await readProcess(row!.pid))!.parent;
}

async function secondsOf(pid: number): Promise<number> {
  const seconds = await processorSeconds(pid);
  if (seconds === null) throw new Error(`Process ${pid} has ended, or there is no /proc`);
  return seconds;
}

/** Of a server and its processes; those that have ended count to the server. */
async function familySeconds(postmaster: number): Promise<number> {
  const server = (await readProcess(postmaster))!;
  let seconds = server.seconds + server.endedSeconds;
  for (const name of await readdir('/proc')) {
    const found = /^\d+$/.test(name) ? await readProcess(Number(name)) : null;
    if (found?.parent === postmaster) seconds += found.seconds;
  }
  return seconds;
}
