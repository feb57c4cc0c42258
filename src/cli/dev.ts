import { Command } from 'commander';
import { type Flags, readConfig } from '../config.ts';
import { ensureAdminKey } from './admin-key.ts';
import { ENVIRONMENT_HELP } from './environment-help.ts';
import { runService } from './run-service.ts';
import { startSampleTarget } from './sample-target.ts';
import { type KeySource, renderStartBlock } from './start-block.ts';
import { readVersion } from './version.ts';

/** `errand dev`: everything in one process, on a Postgres of its own, ready to be tried out. */
export function devCommand(): Command {
  return new Command('dev')
    .description('try errand out: everything in one process, with a Postgres of its own')
    .option('--host <address>', 'listen here (default: 127.0.0.1)')
    .option('--port <number>', 'listen on this port, 0 for any free one (default: 8484)')
    .option('--data-dir <directory>', 'keep the database and the admin key here (default: .errand)')
    .addHelpText('after', ENVIRONMENT_HELP)
    .action(runDev);
}

async function runDev(flags: Omit<Flags, 'mode'>): Promise<void> {
  const config = readConfig(process.env, { ...flags, mode: 'dev' });
  const { adminKey, source } = await findAdminKey(config);
  const sampleUrl = await startSampleTarget();
  await runService({ ...config, adminKey }, (url) => {
    const { databaseUrl, dataDir } = config;
    const place = databaseUrl === null ? dataDir : 'the database of DATABASE_URL';
    const version = readVersion();
    const block = { version, url: url!, data: place, adminKey, source, sampleUrl };
    process.stdout.write(renderStartBlock(block));
  });
}

async function findAdminKey(config: {
  adminKey: string | null;
  dataDir: string;
}): Promise<{ adminKey: string; source: KeySource }> {
  if (config.adminKey !== null) {
    return { adminKey: config.adminKey, source: { kind: 'environment' } };
  }
  const { key, file, isNew } = await ensureAdminKey(config.dataDir);
  return { adminKey: key, source: { kind: isNew ? 'made-now' : 'kept', file } };
}
