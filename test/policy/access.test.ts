import { describe, expect, it } from 'vitest';
import { hasScope, mayUseQueue } from '../../src/policy/access.ts';
import { KEY_SCOPES, QUEUE_PATTERN } from '../../src/protocol/access.ts';

describe('hasScope()', () => {
  it.each(KEY_SCOPES)('admin includes %s, and no other scope includes another', (need) => {
    const holders = KEY_SCOPES.filter((scope) => hasScope({ scopes: [scope] }, need));
    expect(holders).toEqual(need === 'admin' ? ['admin'] : [need, 'admin']);
  });
});

describe('mayUseQueue()', () => {
  it.each([
    [null, 'anything', true],
    [['mail'], 'mail', true],
    [['mail'], 'mail-out', false],
    [['mail'], 'Mail', false],
    [['mail-*'], 'mail-out', true],
    [['mail-*'], 'mail-', true],
    [['mail-*'], 'mail', false],
    [['mail_*'], 'mailX1', false],
    [['sms', 'mail-*'], 'mail-out', true],
    [['*'], 'anything', true],
    [['mail'], '', false],
  ])('%j lets %s in: %s', (queues, name, expected) => {
    expect(mayUseQueue({ queues }, name)).toBe(expected);
  });
});

describe('QUEUE_PATTERN', () => {
  it.each(['mail', 'mail-*', 'a_b', '*', 'x'.repeat(100)])('takes %s', (pattern) => {
    expect(pattern).toMatch(QUEUE_PATTERN);
  });
  it.each(['', '*mail', 'a*b', 'a**', 'a%', 'a.b', 'x'.repeat(101), 'a\n'])(
    'refuses %j',
    (pattern) => {
      expect(pattern).not.toMatch(QUEUE_PATTERN);
    },
  );
});
