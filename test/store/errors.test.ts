import { describe, expect, it } from 'vitest';
import { asStoreError } from '../../src/store/errors.ts';

const codeOf = (code: string) =>
  (asStoreError(Object.assign(new Error('secret'), { code })) as { code: string }).code;

describe('asStoreError()', () => {
  it.each(['ECONNREFUSED', '57P03', '53100', '53200', '53300', '57014', '25006'])(
    'says database-unavailable after %s: nothing took effect, so it may be tried again',
    (code) => expect(codeOf(code)).toBe('database-unavailable'),
  );

  it.each(['CONNECTION_CLOSED', '57P01', '57P02', '08006', '08P01'])(
    'says outcome-unknown after %s',
    (code) => expect(codeOf(code)).toBe('outcome-unknown'),
  );

  it.each(['23505', '22P02', '42P01', 'ER001'])('passes %s on as it is', (code) => {
    expect(codeOf(code)).toBe(code);
  });

  it('never repeats a message of the database, which may carry payloads', () => {
    const error = Object.assign(new Error('secret'), { code: '53100' });
    expect((asStoreError(error) as Error).message).not.toContain('secret');
  });
});
