import { Command } from 'commander';
import { newApiKey } from '../api/api-key.ts';
import { ErrandError } from '../errors.ts';
import { DEFAULT_PROJECT } from '../model.ts';
import { insertApiKey, listApiKeys, revokeApiKey } from '../store/api-key.ts';
import { projectExists } from '../store/project.ts';
import { renderTable } from './table.ts';
import { withDatabase } from './with-database.ts';

interface Options {
  project: string;
  label?: string;
}

/** `errand key`: the API keys of a project. */
export function keyCommand(): Command {
  const command = new Command('key').description('make, list and revoke API keys');
  const about = 'the project it belongs to';
  command
    .command('create')
    .description('make a key and print it, this once')
    .option('--project <name>', about, DEFAULT_PROJECT)
    .option('--label <text>', 'what people know it by', '')
    .action(createKey);
  command
    .command('list')
    .description("list a project's keys, without their secrets")
    .option('--project <name>', about, DEFAULT_PROJECT)
    .action(listKeys);
  command
    .command('revoke <id>')
    .description('refuse a key from now on; its id is in the list')
    .option('--project <name>', about, DEFAULT_PROJECT)
    .action(revokeKey);
  return command;
}

/** The key alone goes to standard output, so that a script can take it from there. */
async function createKey({ project, label = '' }: Options): Promise<void> {
  const { id, key, secretHash } = newApiKey();
  await withDatabase(async (sql) => {
    if (!(await projectExists(sql, project))) throw noProject(project);
    await insertApiKey(sql, { id, project, label, secretHash });
  });
  process.stdout.write(`${key}\n`);
  process.stderr.write(`made key ${id} of project ${project}; it is not shown again\n`);
}

async function listKeys({ project }: Options): Promise<void> {
  const keys = await withDatabase(async (sql) => {
    if (!(await projectExists(sql, project))) throw noProject(project);
    return listApiKeys(sql, project);
  });
  const rows = keys.map(({ id, label, createdAt, revokedAt }) => [
    id,
    createdAt.toISOString(),
    revokedAt?.toISOString() ?? '-',
    label,
  ]);
  process.stdout.write(renderTable(['id', 'created', 'revoked', 'label'], rows));
}

async function revokeKey(id: string, { project }: Options): Promise<void> {
  if (!(await withDatabase((sql) => revokeApiKey(sql, project, id)))) {
    throw new ErrandError(
      'no-such-key',
      `Project ${project} has no key ${id}: \`errand key list --project ${project}\` lists them`,
    );
  }
  process.stdout.write(`revoked key ${id}\n`);
}

function noProject(name: string): ErrandError {
  return new ErrandError(
    'no-such-project',
    `There is no project ${name}: \`errand project list\` lists them, \`errand project create ${name}\` makes it`,
  );
}
