import { parse } from 'yaml';
import { ACCESS } from '../../src/api/access.ts';
import { renderOpenApi } from '../../src/api/openapi.ts';
import type { Answer, ApiFixture } from './api-fixture.ts';

/** What a path of the API may name. */
export interface Names {
  queue: string;
  taskId: string;
  calendar: string;
  keyId: string;
  secretId: string;
  project: string;
}

export interface Operation {
  id: string;
  method: string;
  path: string;
  hasBody: boolean;
}

const document = parse(renderOpenApi());

/** Every operation under /v1, as the API describes itself: a new route is tested without being named. */
export const OPERATIONS: Operation[] = Object.entries<Record<string, Described>>(
  document.paths,
).flatMap(([path, item]) =>
  Object.entries(item)
    .filter(() => path.startsWith('/v1/'))
    .map(([method, { operationId, requestBody }]) => ({
      id: operationId,
      method: method.toUpperCase(),
      path,
      hasBody: requestBody !== undefined,
    })),
);

interface Described {
  operationId: string;
  requestBody?: object;
}

export const accessTo = ({ method, path }: Operation) => ACCESS[`${method} ${path}`]!;

/** A good body for each operation that takes one. */
const BODIES: Record<string, object> = {
  createTask: { url: 'https://worker.example/' },
  createTasks: { tasks: [{ url: 'https://worker.example/' }] },
  putQueue: {},
  patchQueue: { weight: 2 },
  setProgress: { progress: 5 },
  putCalendar: { timeZone: 'UTC' },
  createKey: {},
  putProject: {},
  patchProject: { quotas: { maxBacklog: 7 } },
};

/** Calls an operation on what is named. */
export function perform(
  call: ApiFixture['call'],
  { id, method, path, hasBody }: Operation,
  names: Names,
  key: string,
): Promise<Answer> {
  const body = BODIES[id];
  if (hasBody && body === undefined) throw new Error(`${id} needs a body in every-operation.ts`);
  const url = path.replace(/\{(\w+)\}/g, (_, name: keyof Names) => names[name]);
  return call(method, url, { body, headers: { authorization: `Bearer ${key}` } });
}
