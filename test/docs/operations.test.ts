import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ENVIRONMENT_HELP } from '../../src/cli/environment-help.ts';
import { type Config, readConfig } from '../../src/config.ts';
import { defaultLoadLimits } from '../../src/load-shedding.ts';

const ROOT = join(import.meta.dirname, '../..');
const text = await readFile(join(ROOT, 'docs/operations.md'), 'utf8');
const source = await readFile(join(ROOT, 'src/config.ts'), 'utf8');

/** `databaseUrl: 'DATABASE_URL',` and the like. */
const SETTINGS = [...source.matchAll(/^ {2}(\w+): '(DATABASE_URL|ERRAND_\w+)',$/gm)].map(
  ([, setting, variable]) => ({ setting: setting as keyof Config, variable: variable! }),
);

const rows = [...text.matchAll(/^\| `(DATABASE_URL|ERRAND_\w+)` \|(.*)\|$/gm)].map(
  ([, variable, cells]) => {
    const [what = '', values = '', byDefault = ''] = cells!.split(' | ').map((cell) => cell.trim());
    return { variable: variable!, what, values, byDefault };
  },
);
const rowOf = (variable: string) => rows.find((row) => row.variable === variable)!;

const DEFAULTS = readConfig(
  { DATABASE_URL: 'postgres://localhost/errand', ERRAND_ADMIN_KEY: 'x'.repeat(24) },
  { mode: 'serve' },
);

describe('docs/operations.md', () => {
  test('has each setting of the code once, in the order of the help', () => {
    expect(rows.map(({ variable }) => variable).sort()).toEqual(
      SETTINGS.map(({ variable }) => variable).sort(),
    );
    const inHelp = [...ENVIRONMENT_HELP.matchAll(/^ {2}(DATABASE_URL|ERRAND_\w+) /gm)];
    expect(rows.map(({ variable }) => variable)).toEqual(inHelp.map(([, variable]) => variable));
  });

  test('names the defaults that the code has', () => {
    for (const { setting, variable } of SETTINGS) {
      const [, named] = /^`([^`<]+)`$/.exec(rowOf(variable).byDefault) ?? [];
      const value = DEFAULTS[setting];
      if (named === undefined) {
        // What has no plain default says so in words.
        expect([variable, rowOf(variable).byDefault]).toEqual([
          variable,
          expect.stringMatching(/^(none|all|`http:\/\/<host>:<port>`)/),
        ]);
      } else if (setting === 'dataDir') expect(value).toBe(join(process.cwd(), named));
      else expect([variable, String(value)]).toEqual([variable, named]);
    }
  });

  test('names the ranges and words that the code takes', () => {
    const flags = { mode: 'serve' } as const;
    const given = { DATABASE_URL: 'postgres://localhost/errand', ERRAND_ADMIN_KEY: 'x'.repeat(24) };
    const read = (more: object) => () => readConfig({ ...given, ...more }, flags);
    for (const { variable, values } of rows) {
      const [, min, max] = /^(\d+) to (\d+)/.exec(values) ?? [];
      if (min !== undefined && max !== undefined) {
        for (const good of [min, max]) expect(read({ [variable]: good })).not.toThrow();
        expect(read({ [variable]: String(Number(max) + 1) })).toThrow(variable);
        if (min !== '0') expect(read({ [variable]: String(Number(min) - 1) })).toThrow(variable);
      }
      if (!['ERRAND_ROLES', 'ERRAND_STRATEGY', 'ERRAND_LOG_LEVEL'].includes(variable)) continue;
      const words = [...values.matchAll(/`([\w-]+)`/g)].map(([, word]) => word!);
      for (const word of words) expect(read({ [variable]: word })).not.toThrow();
      expect(read({ [variable]: 'nonsense' })).toThrow(words.join(', '));
    }
  });

  test('names the limits by which load is shed', () => {
    const { requests, loopDelayMs, answerMs, slowRequests } = defaultLoadLimits();
    expect(text).toContain(`**${requests.toLocaleString('en')} requests**`);
    expect(loopDelayMs).toBe(1_000);
    expect(text).toContain(`less than ${answerMs / 1000} s, and ${slowRequests} or more`);
  });
});
