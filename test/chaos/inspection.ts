import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runErrand } from '../cli/errand-process.ts';
import type { Service } from '../e2e/service.ts';
import { until } from '../support/until.ts';
import { judge } from './checker.ts';
import type { Load } from './load.ts';
import type { ChaosPostgres } from './postgres.ts';
import type { Report, World } from './world.ts';

const QUIET_WITHIN_MS = 90_000;
const AGAIN_WITHIN_SECONDS = 5;
/** Lines of a process's log. */
const LAST_WORDS = 8;

/** What a world's run left behind, once all is quiet and every process has ended. */
export async function inspect(
  { postgres, target, load, patience }: World,
  services: readonly Service[],
  notes: Pick<Report, 'exposed' | 'againSeconds' | 'remarks' | 'problems'>,
): Promise<Report> {
  const finished = await readFinished(postgres);
  const verdict = judge({ sent: load.sent, arrivals: target.arrivals, finished });
  const report = { ...verdict, ...notes };
  const problems = [
    ...notes.problems,
    ...findProblems(report, patience),
    ...(await verify(postgres)),
    ...oddities(load),
    ...errorsOf(services),
  ];
  return { ...report, problems };
}

/** Waits until every task has ended; throws with what is left, and who has it, where that takes too long. */
export async function quiet({ sql }: ChaosPostgres, services: readonly Service[]): Promise<void> {
  const isQuiet = async () => {
    const [row] = await sql`
      select exists (select from errand.ready) or exists (select from errand.parked)
        or exists (select from errand.scheduled) or exists (select from errand.lease) as is_busy`;
    return row!.is_busy === false;
  };
  try {
    await until(isQuiet, { timeoutMs: QUIET_WITHIN_MS, what: 'the end of every task' });
  } catch (cause) {
    const unrest = [
      (cause as Error).message,
      await describeUnrest(sql),
      ...services.map(lastWords),
    ];
    throw new Error(unrest.join('\n'), { cause });
  }
}

/** What lies in the rooms, who owns its shards, and who is alive. */
async function describeUnrest(sql: ChaosPostgres['sql']): Promise<string> {
  const [row] = await sql`
    with task as (
      select 'ready' as room, shard, task::text, null::timestamptz as at, '' as more from errand.ready
      union all select 'parked', shard, task::text, null, flow_key from errand.parked
      union all select 'scheduled', shard, task::text, due_at, '' from errand.scheduled
      union all select 'lease', shard, task::text, expires_at,
        format('dispatcher %s, epoch %s', dispatcher, epoch) from errand.lease
    )
    select jsonb_build_object(
      'now', clock_timestamp(),
      'rooms', (select jsonb_object_agg(room, n) from (select room, count(*) n from task group by room) c),
      'tasks', (select jsonb_agg(t) from (select * from task limit 10) t),
      'ownership', (select jsonb_agg(o) from errand.ownership o where o.shard in (select shard from task)),
      'dispatchers', (select jsonb_agg(d) from errand.dispatcher d),
      'sessions', (select jsonb_agg(a) from (select pid, application_name, state, wait_event, query_start,
        left(query, 60) as query from pg_stat_activity where application_name like 'errand%') a)
    ) as unrest`;
  return JSON.stringify(row!.unrest);
}

function lastWords({ process: { child, stdout, stderr } }: Service): string {
  const lines = `${stdout()}${stderr()}`.trimEnd().split('\n').slice(-LAST_WORDS);
  const end = child.exitCode ?? child.signalCode ?? 'alive';
  return [`process ${child.pid} (${end}):`, ...lines].join('\n  ');
}

async function readFinished({ sql }: ChaosPostgres): Promise<Map<string, string>> {
  const rows = await sql<{ task: string; state: string }[]>`
    select replace(task::text, '-', '') as task, state from errand.finished`;
  return new Map(rows.map(({ task, state }) => [task, state]));
}

function findProblems(report: Report, patience: number): string[] {
  const { lost, unexpected, duplicated, exposed, againSeconds } = report;
  const problems = unexpected.slice(0, 5);
  if (lost.length > 0) problems.push(`lost ${lost.length}, such as ${lost.slice(0, 5)}`);
  if (duplicated > exposed) {
    problems.push(`${duplicated} came twice, with ${exposed} calls in flight at the faults`);
  }
  if (againSeconds !== null && againSeconds > AGAIN_WITHIN_SECONDS * patience) {
    problems.push(`dispatching again only after ${againSeconds.toFixed(1)} s`);
  }
  return problems;
}

async function verify({ url }: ChaosPostgres): Promise<string[]> {
  const { code, stdout, stderr } = await runErrand(['verify'], { DATABASE_URL: url });
  return code === 0 ? [] : [`errand verify: ${stdout}${stderr}`];
}

function oddities(load: Load): string[] {
  return [...load.oddities].map(([answer, count]) => `the API answered ${answer} ${count} times`);
}

/** What the processes themselves called an error, and how often. */
function errorsOf(services: readonly Service[]): string[] {
  const lines = services.flatMap(({ process }) => [
    ...process.stdout().split('\n'),
    ...process
      .stderr()
      .split('\n')
      .map((line) => `stderr: ${line}`),
  ]);
  const told = lines.flatMap((line) => {
    if (line.startsWith('stderr: ')) return line === 'stderr: ' ? [] : [line];
    if (!line.includes('"level":"error"') && !line.includes('"level":"fatal"')) return [];
    const { msg, code, error } = JSON.parse(line);
    const [where] = String(error?.stack ?? '')
      .trim()
      .split('\n');
    return [
      `logged an error: ${[msg, code, error?.type, error?.code, where].filter(Boolean).join(', ')}`,
    ];
  });
  const counts = Map.groupBy(told, (each) => each);
  return [...counts].map(([text, all]) => `${all.length} × ${text}`);
}

/** Leaves what the processes logged, every attempt and every call in the folder. */
export async function leaveLogs(
  folder: string,
  services: readonly Service[],
  { postgres, target, load }: World,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const { process } of services) {
    await writeFile(join(folder, `${process.child.pid}.log`), process.stdout() + process.stderr());
  }
  const attempts = await postgres.sql`select * from errand.attempt order by started_at`;
  const evidence = { attempts, arrivals: target.arrivals, sent: load.sent };
  for (const [name, rows] of Object.entries(evidence)) {
    await writeFile(
      join(folder, `${name}.jsonl`),
      rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
    );
  }
}
