import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bodyText, boundText, ERROR_CHARACTERS } from '../../src/policy/error-text.ts';

const encode = (text: string) => new TextEncoder().encode(text);

describe('boundText()', () => {
  test('removes NUL bytes, which Postgres text can not hold', () => {
    expect(boundText('a\0b\0')).toBe('ab');
  });

  test('leaves text of exactly the bound as it is, and marks longer text as cut', () => {
    expect(boundText('x'.repeat(10), 10)).toBe('x'.repeat(10));
    expect(boundText('x'.repeat(11), 10)).toBe(`${'x'.repeat(9)}…`);
  });

  test('does not split a surrogate pair where it cuts', () => {
    expect(boundText('abc😀def', 5)).toBe('abc…');
  });

  test('is bounded, well formed and free of NUL for any text', () => {
    const unit = fc.constantFrom('a', 'é', '\0', '😀', '\ud83d', '\ude00');
    const texts = fc.string({ unit, maxLength: 60 });
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 50 }), (text, max) => {
        const bounded = boundText(text, max);
        return bounded.length <= max && bounded.isWellFormed() && !bounded.includes('\0');
      }),
    );
  });
});

describe('bodyText()', () => {
  test('replaces what is not UTF-8', () => {
    expect(bodyText(Uint8Array.of(0x61, 0xff, 0x62))).toBe('a\uFFFDb');
  });

  test('leaves out a character that its own cut split, and replaces one that the body splits', () => {
    expect(bodyText(encode(`${'\0'.repeat(3001)}€€`))).toBe('');
    expect(bodyText(encode('a€').subarray(0, 3))).toBe('a\uFFFD');
  });

  test.each(['x', 'é', '€', '😀'])(
    'fills the bound with %s and cuts between characters',
    (unit) => {
      const text = bodyText(encode(unit.repeat(5000)));
      expect(text.length).toBeGreaterThanOrEqual(ERROR_CHARACTERS - 1);
      expect(text.length).toBeLessThanOrEqual(ERROR_CHARACTERS);
      expect(text.replaceAll(unit, '')).toBe('…');
    },
  );

  test('is bounded, well formed and free of NUL for any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4000, size: 'max' }), (body) => {
        const text = bodyText(body);
        return text.length <= ERROR_CHARACTERS && text.isWellFormed() && !text.includes('\0');
      }),
    );
  });
});
