import { describe, expect, test } from 'vitest';
import { callTarget } from '../../src/dispatch/call-target.ts';

describe('callTarget()', () => {
  test('takes a URL apart, in its WHATWG form and without its fragment', () => {
    expect(callTarget('HTTPS://Example.com:443/a b?c=1#part')).toMatchObject({
      href: 'https://example.com/a%20b?c=1',
      origin: 'https://example.com',
      path: '/a%20b?c=1',
    });
  });

  test('is null for what is no URL, each time', () => {
    expect(callTarget('no url')).toBeNull();
    expect(callTarget('no url')).toBeNull();
  });

  test('is right for more URLs than it remembers', () => {
    const urls = Array.from({ length: 2_000 }, (_, index) => `https://example.com/${index}`);
    for (const url of [...urls, ...urls]) expect(callTarget(url)!.href).toBe(url);
  });
});
