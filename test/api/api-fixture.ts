import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { newApiKey } from '../../src/api/api-key.ts';
import { createApi } from '../../src/api/app.ts';
import type { ApiParts } from '../../src/api/parts.ts';
import type { Router } from '../../src/api/router.ts';
import type { WakeUp } from '../../src/model.ts';
import { PROBLEM, type ProblemCode } from '../../src/protocol/problem.ts';
import { insertApiKey } from '../../src/store/api-key.ts';
import { connect, type Database, openDatabase, type Sql } from '../../src/store/database.ts';
import { createPartitions } from '../../src/store/partitions.ts';
import { createProject } from '../../src/store/project.ts';
import { createTestDatabase } from '../support/database.ts';

export interface Answer {
  status: number;
  headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever came.
  body: any;
}

export interface CallOptions {
  /** Sent as JSON, unless it is a string: then as it is. */
  body?: unknown;
  /** Over the admin key and the JSON content type; null leaves one out. */
  headers?: Record<string, string | null>;
}

export interface ApiFixture {
  api: Router;
  database: Database;
  /** To look behind the API. */
  sql: Sql;
  adminKey: string;
  wakeUps: WakeUp[];
  logged: object[];
  call(method: string, path: string, options?: CallOptions): Promise<Answer>;
  /** Makes a project with a key of its own. */
  createTenant(): Promise<{ project: string; id: string; key: string }>;
  close(): Promise<void>;
}

/** An API on a database of its own. */
export async function createApiFixture(overrides: Partial<ApiParts> = {}): Promise<ApiFixture> {
  const testDatabase = await createTestDatabase();
  const { url } = testDatabase;
  const database = openDatabase({ url, connections: 4, name: 'api test' });
  const sql = connect({ url, connections: 1, name: 'api test' });
  await createPartitions(sql);
  const adminKey = randomBytes(24).toString('hex');
  const wakeUps: WakeUp[] = [];
  const logged: object[] = [];
  const note = (fields: object) => logged.push(fields);
  const api = createApi({
    database,
    adminKey,
    publicUrl: 'https://errand.example',
    wake: (more) => wakeUps.push(...more),
    isReady: () => Promise.resolve({ ready: true }),
    log: { debug: note, info: note, warn: note, error: note },
    ...overrides,
  });

  return {
    api,
    database,
    sql,
    adminKey,
    wakeUps,
    logged,
    call: (method, path, options = {}) => call(api, adminKey, method, path, options),
    async createTenant() {
      const project = `tenant-${randomBytes(4).toString('hex')}`;
      const { id, key, secretHash } = newApiKey();
      await createProject(sql, project);
      await insertApiKey(sql, { id, project, label: 'test', secretHash });
      return { project, id, key };
    },
    async close() {
      await Promise.all([database.close(0), sql.end({ timeout: 0 })]);
      await testDatabase.drop();
    },
  };
}

/** Checks that the answer is this problem, in the form of the wire contract, and returns its body. */
export function expectProblem(answer: Answer, code: ProblemCode): Answer['body'] {
  const { status, title } = PROBLEM[code];
  expect(answer.body).toMatchObject({ code, status, title, detail: expect.any(String) });
  expect(answer.status).toBe(status);
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  return answer.body;
}

async function call(
  api: Router,
  adminKey: string,
  method: string,
  path: string,
  { body, headers = {} }: CallOptions,
): Promise<Answer> {
  const all = new Headers({ authorization: `Bearer ${adminKey}` });
  if (body !== undefined) all.set('content-type', 'application/json');
  for (const [name, value] of Object.entries(headers)) {
    if (value === null) all.delete(name);
    else all.set(name, value);
  }
  const response = await api.request(path, { method, headers: all, body: encode(body) });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: parse(text) };
}

function encode(body: unknown): string | Uint8Array<ArrayBuffer> | null {
  if (body === undefined) return null;
  if (typeof body === 'string') return body;
  if (body instanceof Uint8Array) return new Uint8Array(body);
  return JSON.stringify(body);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // Some answers are no JSON.
  }
}
