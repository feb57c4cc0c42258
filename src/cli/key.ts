import { Command, InvalidArgumentError } from 'commander';
import { newApiKey } from '../api/api-key.ts';
import { ErrandError } from '../errors.ts';
import { DEFAULT_PROJECT } from '../model.ts';
import {
  DEFAULT_KEY_SCOPES,
  KEY_LIMIT,
  KEY_SCOPES,
  type KeyScope,
  QUEUE_PATTERN,
} from '../protocol/access.ts';
import { type ApiKey, insertApiKey, listApiKeys, revokeApiKey } from '../store/api-key.ts';
import { projectExists } from '../store/project.ts';
import { parseDuration } from './duration.ts';
import { noProject } from './project.ts';
import { renderTable } from './table.ts';
import { withDatabase } from './with-database.ts';

interface Options {
  project: string;
}

interface CreateOptions extends Options {
  label: string;
  scopes: readonly KeyScope[];
  queues?: string[];
  expires?: number;
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
    .option(
      '--scopes <list>',
      `what it may do, of ${KEY_SCOPES.join(', ')}`,
      parseScopes,
      DEFAULT_KEY_SCOPES,
    )
    .option(
      '--queues <list>',
      'the queues it may use, such as mail-*,sms (default: all)',
      parseQueues,
    )
    .option(
      '--expires <duration>',
      'how long it is good for, such as 90d (default: for ever)',
      parseExpiry,
    )
    .action(createKey);
  command
    .command('list')
    .description("list a project's keys, without their secrets")
    .option('--project <name>', about, DEFAULT_PROJECT)
    .action(listKeys);
  command
    .command('revoke <id>')
    .description('refuse a key from now on (everywhere within a second); its id is in the list')
    .option('--project <name>', about, DEFAULT_PROJECT)
    .action(revokeKey);
  return command;
}

/** The key alone goes to standard output, so that a script can take it from there. */
async function createKey(options: CreateOptions): Promise<void> {
  const { project, label, scopes, queues = null, expires: expiresInSeconds = null } = options;
  if (queues !== null && scopes.includes('admin')) throw limitedAdmin();
  const { id, key, secretHash } = newApiKey();
  await withDatabase(async (sql) => {
    if (!(await projectExists(sql, project))) throw noProject(project);
    await insertApiKey(sql, { id, project, label, secretHash, scopes, queues, expiresInSeconds });
  });
  process.stdout.write(`${key}\n`);
  process.stderr.write(`made key ${id} of project ${project}; it is not shown again\n`);
}

const HEADINGS = ['id', 'scopes', 'queues', 'created', 'expires', 'last used', 'revoked', 'label'];

async function listKeys({ project }: Options): Promise<void> {
  const keys = await withDatabase(async (sql) => {
    if (!(await projectExists(sql, project))) throw noProject(project);
    return listApiKeys(sql, project);
  });
  process.stdout.write(renderTable(HEADINGS, keys.map(row)));
}

function row(key: ApiKey): string[] {
  const time = (date: Date | null) => date?.toISOString() ?? '-';
  return [
    key.id,
    key.scopes.join(','),
    key.queues?.join(',') ?? '*',
    time(key.createdAt),
    time(key.expiresAt),
    time(key.lastUsedAt),
    time(key.revokedAt),
    key.label,
  ];
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

function parseScopes(list: string): KeyScope[] {
  const scopes = [...new Set(list.split(','))];
  const unknown = scopes.filter((scope) => !KEY_SCOPES.some((known) => known === scope));
  if (unknown.length > 0) {
    throw new InvalidArgumentError(`It must be some of ${KEY_SCOPES.join(',')}.`);
  }
  return scopes as KeyScope[];
}

function parseQueues(list: string): string[] {
  const queues = [...new Set(list.split(','))];
  if (queues.every((queue) => QUEUE_PATTERN.test(queue)) && queues.length <= KEY_LIMIT.queues) {
    return queues;
  }
  throw new InvalidArgumentError(
    `It must be up to ${KEY_LIMIT.queues} names of queues, or how they begin and a *, with commas between them.`,
  );
}

function parseExpiry(text: string): number {
  const seconds = parseDuration(text);
  if (seconds >= 1 && seconds <= KEY_LIMIT.expiresInSeconds) return seconds;
  throw new InvalidArgumentError('It must be a second to ten years.');
}

function limitedAdmin(): ErrandError {
  return new ErrandError(
    'limited-admin-key',
    'A key with scope admin must not be limited to queues, for it can make others: leave out --queues, or admin',
  );
}
