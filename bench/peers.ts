import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Say } from './statistics.ts';

const HERE = import.meta.dirname;

/** Installs what Errand is held against into bench/node_modules, once: it is no dependency of the project. */
export async function installPeers(say: Say): Promise<void> {
  if (await areInstalled()) return;
  say('installing the peers into bench/node_modules (npm install)');
  const npm = spawn('npm', ['install', '--no-audit', '--no-fund'], {
    cwd: HERE,
    stdio: 'inherit',
    // An npm that runs us tells its own package to the npm we run.
    env: Object.fromEntries(
      Object.entries(process.env).filter(([name]) => name !== 'npm_config_local_prefix'),
    ),
  });
  const [code] = await once(npm, 'exit');
  if (code !== 0) {
    throw new Error(
      'The peers could not be installed: run `npm install` in bench/, or leave them out with --rows plain-loop,fast-loop,errand',
    );
  }
}

async function areInstalled(): Promise<boolean> {
  const { dependencies } = JSON.parse(await readFile(join(HERE, 'package.json'), 'utf8'));
  const looks = Object.keys(dependencies).map((name) => access(join(HERE, 'node_modules', name)));
  return Promise.all(looks).then(
    () => true,
    () => false,
  );
}
