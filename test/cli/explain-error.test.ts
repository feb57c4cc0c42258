import { describe, expect, it } from 'vitest';
import { explainError } from '../../src/cli/explain-error.ts';
import { ErrandError } from '../../src/errors.ts';

const env = { DATABASE_URL: 'postgres://ann:hush@db.example:5433/app' };
const DATABASE = 'Cannot use the database app at db.example:5433 as ann';

describe('explainError()', () => {
  it.each([
    [{ code: 'CONNECT_TIMEOUT' }, `${DATABASE}: it did not answer in time; `],
    [{ code: '53300' }, `${DATABASE}: the server has no connection left; `],
    [{ code: '57P03' }, `${DATABASE}: the server is starting up or shutting down; `],
    [{ code: '25006' }, `${DATABASE}: it is read-only, probably a standby; `],
    [{ code: '42501' }, `${DATABASE}: the user may not do this; grant it CREATE on the database`],
    [
      { code: 'ENOENT', syscall: 'connect', path: '/run/x' },
      `${DATABASE}: there is no such socket`,
    ],
    [
      { code: 'EACCES', syscall: 'mkdir', path: '/data' },
      'Cannot write /data: this user may not; ',
    ],
    [
      { code: 'EACCES', syscall: 'listen', address: '::', port: 80 },
      'Cannot listen on port 80 of ::: this user may not; set ERRAND_PORT to 1024 or higher',
    ],
  ])('says what %j means', (fields, line) => {
    const thrown = Object.assign(new Error('as the system says it'), fields);
    const wrapped = new ErrandError('unavailable', 'as we say it', { cause: thrown });
    expect(explainError(thrown, env)).toContain(line);
    expect(explainError(wrapped, env)).toContain(line);
  });

  it('lets an error of ours speak for itself when its cause means nothing to us', () => {
    const cause = Object.assign(new Error('relation exists'), { code: '42P07' });
    expect(explainError(new ErrandError('migration-conflict', 'It failed', { cause }), env)).toBe(
      'It failed',
    );
  });

  it('asks for `errand migrate` only when a statement that stands alone found no table', () => {
    const missing = Object.assign(new Error('no relation'), { code: '42P01' });
    expect(explainError(missing, env)).toMatch(/run `errand migrate`$/);
    const within = new ErrandError('migration-conflict', 'It failed', { cause: missing });
    expect(explainError(within, env)).toBe('It failed');
  });

  it('names the embedded database when there is no other', () => {
    const refused = Object.assign(new Error(), { code: 'ECONNREFUSED' });
    expect(explainError(refused, {})).toMatch(/^Cannot use the embedded database: /);
  });

  it('never shows the password', () => {
    const wrong = Object.assign(new Error(), { code: '28P01' });
    expect(explainError(wrong, env)).not.toContain('hush');
  });

  it('takes the first line of anything else, and says how to learn more', () => {
    expect(explainError(new TypeError('x is not a function\nmore'), env)).toBe(
      'x is not a function; set ERRAND_LOG_LEVEL=debug to see where it comes from',
    );
  });
});
