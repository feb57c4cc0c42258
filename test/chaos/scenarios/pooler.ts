/** PgBouncer in transaction mode between every process and the database. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../../examples/demo/service.ts';
import { asAccount, findAccount } from '../../../src/embedded/account.ts';
import type { Service } from '../../e2e/service.ts';
import { until } from '../../support/until.ts';
import type { ChaosPostgres } from '../postgres.ts';
import { type Scenario, scenario } from '../scenario.ts';
import { restart } from './database.ts';

const run = promisify(execFile);
const LOAD_PER_SECOND = 200;

export const pooled: Scenario = {
  name: 'PgBouncer in transaction mode, with restarts of Postgres',
  isInShort: true,
  obstacle,
  async run(how) {
    let stop = async () => {};
    const inner = scenario(
      this.name,
      async (world) => {
        world.load.start(LOAD_PER_SECOND);
        const deaf = [...world.dispatchers];
        const hearing = await world.start('dispatcher', { ERRAND_LISTEN_URL: world.postgres.url });
        await until(() => deaf.every(saysDeaf), {
          timeoutMs: 30_000,
          what: 'the word of a dispatcher that notifications do not arrive',
        });
        for (let count = 0; count < (how.isShort ? 1 : 5); count += 1) await restart(world);
        if (saysDeaf(hearing)) world.complain('ERRAND_LISTEN_URL did not lead past the pooler');
      },
      {
        world: {
          async databaseUrl(postgres) {
            const pooler = await startPooler(postgres);
            stop = pooler.stop;
            return pooler.url;
          },
        },
      },
    );
    try {
      return await inner.run(how);
    } finally {
      await stop();
    }
  },
};

const saysDeaf = ({ process }: Service) => /notifications do not arrive/.test(process.stdout());

/** As root it runs as the user that PostgreSQL does, for neither runs as root. */
async function startPooler(postgres: ChaosPostgres) {
  const account = await findAccount();
  const { username, password, port: databasePort, pathname } = new URL(postgres.url);
  const port = await freePort();
  const folder = join(postgres.folder, 'pooler');
  await mkdir(folder, { recursive: true });
  const files = {
    'pgbouncer.ini': settings(folder, databasePort, port),
    users: `"${username}" "${password}"\n`,
  };
  for (const [name, text] of Object.entries(files)) {
    await writeFile(join(folder, name), text, { mode: 0o600 });
    if (account) await chown(join(folder, name), account.uid, account.gid);
  }
  const child = spawn('pgbouncer', [join(folder, 'pgbouncer.ini')], {
    ...asAccount(account),
    cwd: '/',
    stdio: 'ignore',
  });
  return {
    url: `postgres://${username}:${password}@127.0.0.1:${port}${pathname}`,
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function settings(folder: string, databasePort: string, port: number): string {
  return [
    '[databases]',
    `* = host=127.0.0.1 port=${databasePort}`,
    '[pgbouncer]',
    'pool_mode = transaction',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = scram-sha-256',
    `auth_file = ${join(folder, 'users')}`,
    'default_pool_size = 10',
    'max_client_conn = 200',
    // Its default of 15 s would keep everybody waiting after the database is back.
    'server_login_retry = 1',
    '',
  ].join('\n');
}

async function obstacle(): Promise<string | null> {
  return run('pgbouncer', ['--version']).then(
    () => null,
    () => 'needs the program pgbouncer (`apt-get install pgbouncer`)',
  );
}
