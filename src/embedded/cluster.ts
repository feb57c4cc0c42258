import { randomBytes } from 'node:crypto';
import { chown, lstat, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ErrandError } from '../errors.ts';
import type { Account } from './account.ts';
import type { Binaries } from './binaries.ts';
import { runProgram } from './run-program.ts';

/** The superuser's name, and the database's. */
export const NAME = 'errand';

export interface ClusterOptions {
  dataDir: string;
  binaries: Binaries;
  account: Account | null;
  /** False when the server runs without fsync: then nothing is synced at creation either. */
  isDurable: boolean;
  log: (line: string) => void;
}

/** Sees to it that `directory` holds a database, and returns its password, kept in the data dir. */
export async function openCluster(directory: string, options: ClusterOptions): Promise<string> {
  const { account, dataDir, log } = options;
  const { password, isNew } = await keepPassword(join(dataDir, 'postgres-password'));
  const stat = await lstat(directory).catch(() => null);
  const uid = account?.uid ?? process.getuid?.();
  if (!stat) {
    log(`Creating a PostgreSQL database in ${directory}`);
    await createCluster(directory, password, options);
  } else if (stat.uid !== uid) {
    throw new ErrandError(
      'data-dir-owner',
      `The database in ${directory} belongs to user ${stat.uid}, expected user ${uid}: ` +
        'start errand as the user who started it before',
    );
  } else if (isNew) {
    const reset = `alter role ${NAME} password '${password}';\n`;
    await runSingleUser(directory, reset, options);
  }
  return password;
}

async function keepPassword(file: string): Promise<{ password: string; isNew: boolean }> {
  const kept = await readFile(file, 'utf8').catch(() => '');
  if (kept.trim()) return { password: kept.trim(), isNew: false };
  const password = randomBytes(24).toString('hex');
  await writeFile(file, `${password}\n`, { mode: 0o600 });
  return { password, isNew: true };
}

/** The files get their name only when they are complete: a creation that was killed is begun anew. */
async function createCluster(
  directory: string,
  password: string,
  options: ClusterOptions,
): Promise<void> {
  const { account, binaries, isDurable } = options;
  const draft = `${directory}.incomplete`;
  const passwordFile = `${directory}.password`;
  await rm(draft, { recursive: true, force: true });
  await mkdir(draft, { mode: 0o700 });
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  try {
    if (account) {
      await chown(draft, account.uid, account.gid);
      await chown(passwordFile, account.uid, account.gid);
    }
    await runProgram(binaries.initdb, initdbArguments(draft, passwordFile, isDurable), { account });
    await runSingleUser(draft, `create database ${NAME};\n`, options);
    await rename(draft, directory);
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** The built-in C.UTF-8 sorts the same on every system, whatever locales it has. */
function initdbArguments(directory: string, passwordFile: string, isDurable: boolean): string[] {
  return [
    `--pgdata=${directory}`,
    `--username=${NAME}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--no-instructions',
    ...(isDurable ? [] : ['--no-sync']),
  ];
}

/** Runs SQL without a server: the one way in before anybody can connect. */
async function runSingleUser(
  directory: string,
  input: string,
  { account, binaries, isDurable }: ClusterOptions,
): Promise<void> {
  const settings = ['-c', 'exit_on_error=on', '-c', `fsync=${isDurable ? 'on' : 'off'}`];
  const args = ['--single', '-D', directory, ...settings, 'postgres'];
  await runProgram(binaries.postgres, args, { account, input });
}
