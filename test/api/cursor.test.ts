import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCursor, type PagedList, sealCursor } from '../../src/api/cursor.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

interface Tenant {
  project: string;
  headers: Record<string, string>;
}

let fixture: ApiFixture;
let tenants: [Tenant, Tenant];

beforeAll(async () => {
  fixture = await createApiFixture();
  tenants = [await createTenant(), await createTenant()];
});
afterAll(() => fixture.close());

/** A project with two of everything that is listed in pages; returns how to ask for it. */
async function createTenant(): Promise<Tenant> {
  const { project, key } = await fixture.createTenant();
  const headers = { authorization: `Bearer ${key}` };
  for (const name of ['a', 'b']) {
    await fixture.call('PUT', `/v1/queues/${name}`, { body: {}, headers });
    await fixture.call('PUT', `/v1/calendars/${name}`, { body: { timeZone: 'UTC' }, headers });
    const body = { url: 'https://worker.example/', delaySeconds: 1000 };
    await fixture.call('POST', `/v1/queues/${name}/tasks`, { body, headers });
  }
  return { project, headers };
}

const LISTS = ['/v1/queues', '/v1/calendars', '/v1/tasks'];

describe('openCursor()', () => {
  const holder = () => ({ cursorKey: randomBytes(32) });

  it('gives the place back to its project and list, and to nobody else', () => {
    const mine = holder();
    const cursor = sealCursor(mine, 'tasks', 'a place');
    expect(openCursor(mine, 'tasks', cursor)).toBe('a place');
    const foreign: [{ cursorKey: Uint8Array }, PagedList][] = [
      [holder(), 'tasks'],
      [mine, 'queues'],
      [mine, 'tasks/0198c0de000070008000000000000001/attempts'],
    ];
    for (const [who, list] of foreign) {
      expect(() => openCursor(who, list, cursor)).toThrow(/\?cursor: expected the nextCursor/);
    }
  });

  it.each([0, 11, 12, 20, -1])('refuses one of which byte %i was altered', (at) => {
    const mine = holder();
    const bytes = Buffer.from(sealCursor(mine, 'tasks', 'a place'), 'base64url');
    bytes.set([bytes.at(at)! ^ 1], at < 0 ? bytes.length + at : at);
    expect(() => openCursor(mine, 'tasks', bytes.toString('base64url'))).toThrow(/\?cursor/);
  });
});

describe.each(LISTS)('the cursor of GET %s', (path) => {
  const page = (tenant: Tenant, query: string) =>
    fixture.call('GET', `${path}?${query}`, { headers: tenant.headers });

  it('opens for its own project, and is refused with every other and in every other list', async () => {
    const [mine, theirs] = tenants;
    const { body } = await page(mine, 'limit=1');
    expect(body.nextCursor).toMatch(/^[\w-]{30,}$/);
    const query = `cursor=${body.nextCursor}`;
    expect((await page(mine, query)).body).toMatchObject({ items: [{}], nextCursor: null });
    const others = LISTS.filter((other) => other !== path);
    const refused = [
      await page(theirs, query),
      ...(await Promise.all(
        others.map((other) => fixture.call('GET', `${other}?${query}`, { headers: mine.headers })),
      )),
    ];
    for (const answer of refused) {
      const { errors } = expectProblem(answer, 'invalid-request');
      expect(errors).toMatchObject([{ pointer: '?cursor' }]);
    }
  });
});

describe('GET /v1/tasks?state=ready beside the tasks of another project on the same shard', () => {
  it('tells no id of theirs in its cursor, and comes to its own in the end', async () => {
    const [{ headers }, theirs] = tenants;
    const { sql } = fixture;
    const body = { url: 'https://worker.example/' };
    const task = await fixture.call('POST', '/v1/queues/a/tasks', { body, headers });
    // Newer, and more than a page looks at.
    const rows = await sql<{ id: string }[]>`
      insert into errand.ready (shard, queue, rank, seq, task, step, attempt, due_at)
      select own.shard, foreigners.id, 0, i,
        errand.task_id(now() + i * interval '1 microsecond', own.shard, gen_random_uuid()), 0, 0, now()
      from generate_series(1, 21000) i,
        (select shard from errand.ready where task = ${task.body.id}) own,
        (select id from errand.queue where project = ${theirs.project} and name = 'a') foreigners
      returning replace(task::text, '-', '') as id`;
    const ids = new Set(rows.map(({ id }) => id));

    const found: string[] = [];
    let cursors = 0;
    for (let query = ''; ; cursors += 1) {
      const page = await fixture.call('GET', `/v1/tasks?state=ready${query}`, { headers });
      found.push(...page.body.items.map(({ id }: { id: string }) => id));
      if (page.body.nextCursor === null) break;
      expect(idsIn(page.body.nextCursor).filter((id) => ids.has(id))).toEqual([]);
      query = `&cursor=${page.body.nextCursor}`;
    }
    expect(cursors).toBeGreaterThan(0);
    expect(found).toEqual([task.body.id]);
  });
});

/** Whatever looks like an id in a cursor, as it is or decoded, as text or as bytes. */
function idsIn(cursor: string): string[] {
  const bytes = Buffer.from(cursor, 'base64url');
  return [cursor, bytes.toString('latin1'), bytes.toString('hex')].flatMap((text) =>
    Array.from({ length: Math.max(0, text.length - 31) }, (_, at) => text.slice(at, at + 32)),
  );
}
