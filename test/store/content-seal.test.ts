import { createSecretKey, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  ContentError,
  type DataKey,
  openBody,
  openHeaders,
  sealContent,
} from '../../src/store/content-seal.ts';

const KEY: DataKey = { id: 3, project: 'acme', secret: createSecretKey(randomBytes(32)) };
const QUEUE = 12;
const CONTENT = { headers: { 'x-secret': 'höchst geheim' }, body: Buffer.from('the payload') };

describe('sealContent()', () => {
  it('seals what opens in the same project and queue', () => {
    const sealed = sealContent(KEY, QUEUE, CONTENT);
    expect(sealed.dataKey).toBe(3);
    expect(openHeaders(KEY, QUEUE, sealed)).toEqual(CONTENT.headers);
    expect(openBody(KEY, QUEUE, sealed.body)).toEqual(CONTENT.body);
    expect(Buffer.from(sealed.body).includes('payload')).toBe(false);
    expect(Buffer.from(sealed.headers!, 'base64url').includes('secret')).toBe(false);
  });

  it('takes no headers, and an empty body', () => {
    const sealed = sealContent(KEY, QUEUE, { headers: null, body: new Uint8Array() });
    expect(sealed.headers).toBeNull();
    expect(openHeaders(KEY, QUEUE, sealed)).toEqual({});
    expect(openBody(KEY, QUEUE, sealed.body)).toHaveLength(0);
  });

  it('never seals twice alike', () => {
    const [one, other] = [1, 2].map(() => sealContent(KEY, QUEUE, CONTENT));
    expect(one!.body).not.toEqual(other!.body);
    expect(one!.headers).not.toBe(other!.headers);
  });
});

describe('openBody() and openHeaders()', () => {
  const sealed = sealContent(KEY, QUEUE, CONTENT);
  const seals: [string, DataKey, number][] = [
    ['another project', { ...KEY, project: 'other' }, QUEUE],
    ['another queue', KEY, QUEUE + 1],
    ['another data key', { ...KEY, secret: createSecretKey(randomBytes(32)) }, QUEUE],
  ];

  it.each(seals)('refuse what was sealed for %s', (_, key, queue) => {
    expect(() => openBody(key, queue, sealed.body)).toThrow(ContentError);
    expect(() => openHeaders(key, queue, sealed)).toThrow(ContentError);
  });

  it('refuse one in the place of the other', () => {
    expect(() => openBody(KEY, QUEUE, Buffer.from(sealed.headers!, 'base64url'))).toThrow(
      /does not open with data key 3: it was altered, or copied from another queue/,
    );
    const headers = Buffer.from(sealed.body).toString('base64url');
    expect(() => openHeaders(KEY, QUEUE, { dataKey: 3, headers })).toThrow(ContentError);
  });

  it.each([0, 12, 20, -16, -1])('refuse what was altered at byte %i', (at) => {
    const altered = Buffer.from(sealed.body);
    altered.set([altered.at(at)! ^ 1], at < 0 ? altered.length + at : at);
    expect(() => openBody(KEY, QUEUE, altered)).toThrow(ContentError);
  });

  it.each([0, 5, 12, 27])('refuse what was cut to %i bytes', (length) => {
    expect(() => openBody(KEY, QUEUE, sealed.body.subarray(0, length))).toThrow(ContentError);
  });
});
