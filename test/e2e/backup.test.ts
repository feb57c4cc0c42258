import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { migrate } from '../../src/store/migrate.ts';
import { verifyRooms } from '../../src/store/verify.ts';
import { type PostgresTools, startPostgresTools, toolsMissing } from '../support/postgres-tools.ts';
import { startTarget, type Target } from '../support/target.ts';
import { until } from '../support/until.ts';
import { killHard, type Service, startService } from './service.ts';

const PENDING = 50;
const about = toolsMissing === null ? '' : ` (${toolsMissing})`;
const name = `backup_${randomBytes(6).toString('hex')}`;

let tools: PostgresTools;
let target: Target;
let service: Service;

beforeAll(async () => {
  if (toolsMissing !== null) return;
  tools = await startPostgresTools();
  target = await startTarget();
}, 120_000);
afterEach(() => killHard(service));
afterAll(async () => {
  if (toolsMissing !== null) return;
  await target.close();
  for (const database of [name, `${name}_restored`]) {
    await administer(`drop database if exists ${database} with (force)`);
  }
  await tools.close();
});

describe('a database restored from pg_dump', () => {
  test.skipIf(toolsMissing !== null)(
    `dispatches what was pending when it was dumped, and keeps what had ended${about}`,
    async () => {
      await administer(`create database ${name}`);
      service = await startService(tools.urlOf(name), { ERRAND_TAKEOVER_SECONDS: '2' });
      const { client } = service;
      target.answer = (_, response) => void response.end('the output');
      const done = await client.waitFor(await client.enqueue('default', task('done')));
      const held = Promise.withResolvers<void>();
      target.answer = ({ path }, response) => {
        if (path !== '/held') response.end();
        else held.resolve();
      };
      const inFlight = await client.enqueue('default', task('held'));
      await held.promise;
      await client.queues.pause('default');
      for (let n = 0; n < PENDING; n += 1) {
        const delaySeconds = n % 5 === 0 ? 1 : 0;
        await client.enqueue('default', { ...task(`pending/${n}`), delaySeconds, name: `n-${n}` });
      }

      // The service is at work meanwhile: a dump is of one moment.
      const file = join(tools.folder, 'dumps', 'errand.dump');
      await tools.run('pg_dump', ['--format=custom', `--file=${file}`, tools.urlOf(name)]);
      const jwks = await (await fetch(`${service.url}/.well-known/jwks.json`)).text();
      await killHard(service);
      await administer(`create database ${name}_restored`);
      const into = `--dbname=${tools.urlOf(`${name}_restored`)}`;
      await tools.run('pg_restore', ['--exit-on-error', '--no-owner', into, file]);

      const before = target.arrivals.length;
      target.answer = (_, response) => void response.end();
      service = await startService(tools.urlOf(`${name}_restored`), {
        ERRAND_TAKEOVER_SECONDS: '2',
      });
      await service.client.queues.resume('default');
      await target.arrived(before + PENDING + 1);
      const arrived = target.arrivals.slice(before).map(({ path, body }) => `${path} ${body}`);
      const expected = Array.from({ length: PENDING }, (_, n) => `/pending/${n} pending/${n}`);
      expect(arrived.sort()).toEqual([...expected, '/held held'].sort());

      const attempts = await until(async () => {
        const { items } = await service.client.attempts(inFlight.id);
        return items.length === 2 ? items : null;
      });
      expect(attempts.map(({ outcome }) => outcome).sort()).toEqual(['lost', 'responded']);
      expect(await (await service.client.output(done.id)).text()).toBe('the output');
      expect(await (await fetch(`${service.url}/.well-known/jwks.json`)).text()).toBe(jwks);
      await expect(
        service.client.enqueue('default', { ...task('again'), name: 'n-1' }),
      ).rejects.toMatchObject({ code: 'name-taken' });
      await service.end('SIGTERM');
      await expectClean(tools.urlOf(`${name}_restored`));
    },
    60_000,
  );
});

function task(payload: string) {
  return { url: `${target.url}/${payload}`, payload };
}

/** Each task lies in one place, and no migration is missing. */
async function expectClean(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  expect(await migrate(sql)).toEqual([]);
  expect((await verifyRooms(sql)).problems).toEqual([]);
  await sql.end();
}

async function administer(statement: string): Promise<void> {
  const sql = postgres(tools.urlOf('postgres'), { max: 1, onnotice: () => {} });
  await sql.unsafe(statement);
  await sql.end();
}
