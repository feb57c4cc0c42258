import type { Logger } from 'pino';
import postgres from 'postgres';
import { beforeEach, describe, expect, inject, it } from 'vitest';
import { createLog, describeError, renderLine } from '../../src/cli/log.ts';
import { ErrandError } from '../../src/errors.ts';

let written: string[];

beforeEach(() => {
  written = [];
});

describe('createLog()', () => {
  it.each([
    'authorization',
    'headers',
    'payload',
    'body',
    'key',
    'token',
    'password',
    'databaseUrl',
  ])('never writes what is in %s, at the top or one level down', (name) => {
    const log = capture({ mode: 'serve', logLevel: 'info' });
    log.info({ [name]: 'hush', task: { [name]: { deep: 'hush' } } }, 'seen');
    expect(written.join()).toContain('[redacted]');
    expect(written.join()).not.toContain('hush');
  });

  it('writes JSON with the level by name and the time as RFC 3339', () => {
    capture({ mode: 'serve', logLevel: 'info' }).warn({ shard: 3 }, 'shard lost');
    expect(JSON.parse(written[0]!)).toMatchObject({
      level: 'warn',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      shard: 3,
      msg: 'shard lost',
    });
  });

  it('writes nothing below its level', () => {
    capture({ mode: 'serve', logLevel: 'warn' }).info({}, 'unseen');
    expect(written).toEqual([]);
  });

  it('writes lines for people in dev at a terminal', () => {
    capture({ mode: 'dev', logLevel: 'info' }, true).info({ shards: 64 }, 'shards taken');
    expect(written[0]).toMatch(/^\d\d:\d\d:\d\d info {2}shards taken {2}shards=64\n$/);
  });
});

describe('renderLine()', () => {
  it('quotes values that are not one word', () => {
    const line = JSON.stringify({ level: 'info', time: 0, msg: 'm', a: 'b c', d: { e: 1 } });
    expect(renderLine(line)).toMatch(/ info {2}m {2}a="b c" {2}d=\{"e":1\}\n$/);
  });
});

describe('describeError()', () => {
  it("keeps Postgres' own words, which quote values, out of the log", async () => {
    const sql = postgres(inject('postgresUrl'), { max: 1 });
    const error = await sql`select ${'hush'}::text::integer`.catch((thrown) => thrown);
    await sql.end();
    expect(error.message).toContain('hush');
    const told = describeError(new ErrandError('failed', 'It failed', { cause: error }));
    expect(told).toMatchObject({ code: 'failed', message: 'It failed', cause: { code: '22P02' } });
    expect(JSON.stringify(told)).not.toContain('hush');
    expect(told).toHaveProperty('stack', expect.stringContaining('log.test.ts'));
  });
});

function capture(config: Parameters<typeof createLog>[0], isTTY = false): Logger {
  return createLog(config, { isTTY, write: (text) => written.push(text) });
}
