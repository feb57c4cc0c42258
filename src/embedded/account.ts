import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ErrandError } from '../errors.ts';

const run = promisify(execFile);

/** A system user that the database runs as, when we are root. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

/**
 * Postgres refuses to run as root, so root lends it an unprivileged user that exists already:
 * `postgres`, else `nobody`. Anyone else runs it as themselves (null).
 */
export async function findAccount(): Promise<Account | null> {
  if (process.getuid?.() !== 0) return null;
  for (const name of ['postgres', 'nobody']) {
    const account = await lookUp(name);
    if (account) return account;
  }
  throw new ErrandError(
    'embedded-postgres-account',
    'PostgreSQL does not run as root, and this system has neither a user "postgres" nor "nobody": ' +
      'start errand as another user, or set DATABASE_URL',
  );
}

/** Whether `account` gets through every directory above `path` and, for a directory, into it. */
export async function canReach(account: Account, path: string): Promise<boolean> {
  try {
    await run('test', ['-x', path], { ...asAccount(account), cwd: '/' });
    return true;
  } catch {
    return false; // `test` answers by its exit status.
  }
}

/** The spawn options that make a child run as `account`. */
export function asAccount(account: Account | null): { uid?: number; gid?: number } {
  return account ? { uid: account.uid, gid: account.gid } : {};
}

async function lookUp(name: string): Promise<Account | null> {
  try {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
    return { name, uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return null; // `id` fails for a user that does not exist.
  }
}
