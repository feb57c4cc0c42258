import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBLEM, type ProblemCode } from '../../src/protocol/problem.ts';
import { createProject } from '../../src/store/project.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type Answer, type ApiFixture, createApiFixture } from '../api/api-fixture.ts';
import { type Bench, startBench } from '../support/dispatcher.ts';
import { type Arrival, startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { type FuzzRequest, fuzzRequest, OPERATIONS } from './requests.ts';

const RUNS = 1_050;
/** In flight together, so that they meet each other in the database. */
const TOGETHER = 10;
/** How often what is still there is told to run. */
const TURNS = 6;

let bench: Bench;
let fixture: ApiFixture;
let target: Target;
/** Ids of what was made, by the name of the path's parameter that stands for it. */
const created: Record<string, string[]> = { taskId: [], keyId: [], secretId: [] };
const MADE_BY: Record<string, string> = {
  createTask: 'taskId',
  createKey: 'keyId',
  createWebhookSecret: 'secretId',
};

beforeAll(async () => {
  // Its dispatcher serves nobody: nothing is dispatched before everything is stored.
  bench = await startBench({ pool: 'nobodys' });
  fixture = await createApiFixture({ database: bench.database });
  target = await startTarget();
  await bench.database.run((sql) => createProject(sql, 'acme'));
});
afterAll(async () => {
  await fixture.close();
  await bench.close();
  await target.close();
});

describe('The API under 10,500 requests from its own description, half of them with something wrong', () => {
  it('answers each as it is described, without an error of ours', async () => {
    const seen = new Map<string, Set<number>>(OPERATIONS.map(({ id }) => [id, new Set()]));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fuzzRequest, { minLength: TOGETHER, maxLength: TOGETHER }),
        async (requests) => {
          const answers = await Promise.all(requests.map(send));
          expect(fixture.logged).toEqual([]);
          for (const [at, answer] of answers.entries()) check(requests[at]!, answer, seen);
        },
      ),
      // What is stored by then is part of the example, so a smaller one is another one.
      { numRuns: RUNS, endOnFailure: true },
    );
    const neverGood = [...seen].filter(([, statuses]) => Math.min(...statuses) >= 300);
    // Two take a task that has been dispatched, and few of the filters of the third go together.
    const early = ['getOutput', 'retryTask', 'listTasks'];
    expect(neverGood.map(([id]) => id).filter((id) => !early.includes(id))).toEqual([]);
    expect([...seen.get('createTask')!]).toEqual(expect.arrayContaining([201, 400, 404, 409]));
    const { tasks, problems } = await bench.database.run(verifyRooms);
    expect(problems).toEqual([]);
    expect(tasks).toBeGreaterThan(500);
  }, 120_000);

  it('has stored nothing that cannot be dispatched', async () => {
    await pointAllAt(target.url);
    const waiting = await countLive();
    await Promise.all(
      (await pools()).map((pool) => bench.startDispatcher({ pool, takeoverMs: 2_000 })),
    );
    // What a busy dispatcher gives back lies at its own rank again, and perhaps in a queue that is paused.
    for (let turn = 0; turn < TURNS && (await countLive()) > 0; turn += 1) {
      await runAll();
      await until(async () => (await countLive()) === 0, { timeoutMs: 8_000 }).catch(() => null);
    }
    expect(await bench.database.run(left)).toEqual([]);
    expect(await bench.database.run(unusual)).toEqual([]);
    expect(target.arrivals.filter((arrival) => !isWhole(arrival))).toEqual([]);
    expect(target.arrivals.length).toBeGreaterThan(waiting / 2);
    expect((await bench.database.run(verifyRooms)).problems).toEqual([]);
  }, 90_000);
});

function send({ operation, method, params, query, headers, body }: FuzzRequest): Promise<Answer> {
  const path = operation.path.replace(/\{(\w+)\}/g, (_, name) => {
    const value = params[name]!;
    if (typeof value === 'string') return value;
    const ids = created[name]!;
    return ids[value.created % Math.max(1, ids.length)] ?? randomBytes(16).toString('hex');
  });
  const takesBody = method !== 'GET' && method !== 'HEAD';
  return fixture.call(method, path + query, { body: takesBody ? body : undefined, headers });
}

function check(
  { operation, method, params }: FuzzRequest,
  answer: Answer,
  seen: Map<string, Set<number>>,
): void {
  expect(answer.status).toBeLessThan(500);
  const made = MADE_BY[operation.id];
  if (answer.status === 201 && made !== undefined) created[made]!.push(answer.body.id);
  if (method === operation.method && Object.values(params).every(isPlain)) {
    seen.get(operation.id)!.add(answer.status);
    expect([...operation.statuses, 404]).toContain(answer.status);
  }
  if (answer.status < 400 || method === 'HEAD') return;
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  expect(PROBLEM[answer.body.code as ProblemCode].status).toBe(answer.status);
}

/** Other parameters may lead to another operation's path. */
function isPlain(param: string | { created: number }): boolean {
  return typeof param !== 'string' || /^[\w-]+$/.test(param);
}

/** Everything but the host stays as it was taken: these hosts are none of ours to call. */
function pointAllAt(url: string): Promise<unknown> {
  return bench.database.run(
    (sql) =>
      sql`update errand.task set url = regexp_replace(url, '^https?://[^/?#]*', ${url}, 'i')`,
  );
}

/** Past pauses, windows and limits. */
async function runAll(): Promise<void> {
  const rows = await bench.database.run(
    (sql) => sql<{ task: string; project: string }[]>`
      select replace(r.task::text, '-', '') as task, q.project
      from (select task, queue from errand.ready union all select task, queue from errand.scheduled) r
      join errand.queue q on q.id = r.queue
    `,
  );
  const statuses = new Set<number>();
  for (const { task, project } of rows) {
    const headers = { 'errand-project': project };
    statuses.add((await fixture.call('POST', `/v1/tasks/${task}/run`, { headers })).status);
  }
  // Tasks that were purged are gone for readers before they are removed; others are just called.
  expect([...statuses].filter((status) => ![200, 404, 409].includes(status))).toEqual([]);
}

function pools(): Promise<string[]> {
  return bench.database.run(async (sql) => {
    const rows = await sql<{ pool: string }[]>`select distinct pool from errand.queue`;
    return rows.map(({ pool }) => pool);
  });
}

async function countLive(): Promise<number> {
  const [row] = await bench.database.run(
    (sql) => sql<{ n: number }[]>`
      select (select count(*) from errand.ready)::int + (select count(*) from errand.scheduled)::int
        + (select count(*) from errand.lease)::int + (select count(*) from errand.parked)::int as n
    `,
  );
  return row!.n;
}

/** What still waits, with where and why. */
const left: Parameters<Bench['database']['run']>[0] = (sql) => sql`
  select r.room, q.name, q.pool, q.is_purging, q.paused_at, t.url, t.headers, t.method,
    to_jsonb(r) as row
  from (
    select 'ready' as room, shard, task, step, queue, rank, attempt, due_at from errand.ready
    union all select 'scheduled', shard, task, step, queue, rank, attempt, due_at from errand.scheduled
    union all select 'lease', shard, task, step, queue, rank, attempt, due_at from errand.lease
    union all select 'parked', shard, task, step, queue, rank, attempt, due_at from errand.parked
  ) r
  join errand.task t on t.shard = r.shard and t.id = r.task and t.step = r.step
  join errand.queue q on q.id = r.queue
  limit 3
`;

/** Of what was dispatched: each attempt must have been answered. Expired tasks have none. */
const unusual: Parameters<Bench['database']['run']>[0] = async (sql) => {
  const attempts = await sql`
    select outcome, error, count(*)::int as n from errand.attempt
    where outcome <> 'responded' or status <> 200 group by 1, 2
  `;
  const ended = await sql`
    select state, reason, count(*)::int as n from errand.finished
    where state = 'failed' and reason not like 'its expire time passed%' group by 1, 2
  `;
  return [...attempts, ...ended];
};

/** The body that came is the one that was signed, for the URL that was called. */
function isWhole({ headers, body, method, path }: Arrival): boolean {
  const claims = decodeJwt(String(headers['errand-authorization']).replace('Bearer ', ''));
  const signed = new URL(claims.url as string);
  return (
    claims.body_sha256 === createHash('sha256').update(body).digest('base64url') &&
    claims.htm === method &&
    signed.pathname + signed.search === path
  );
}
