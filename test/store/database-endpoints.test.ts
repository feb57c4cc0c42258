import { describe, expect, test } from 'vitest';
import { databaseEndpoints } from '../../src/store/database-endpoints.ts';

describe('databaseEndpoints()', () => {
  test.each([
    ['postgres://u:p@db.internal:6543/app', [{ host: 'db.internal', port: 6543 }]],
    ['postgresql://u:p%40x@10.0.0.7/app?sslmode=require', [{ host: '10.0.0.7', port: 5432 }]],
    [
      'postgres://u:p@one:5432,two:5433/app',
      [
        { host: 'one', port: 5432 },
        { host: 'two', port: 5433 },
      ],
    ],
  ])('of %s', (url, expected) => {
    expect(databaseEndpoints(url)).toEqual(expected);
  });
});
