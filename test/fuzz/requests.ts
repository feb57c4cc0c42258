import fc from 'fast-check';
import { parse } from 'yaml';
import { renderOpenApi } from '../../src/api/openapi.ts';
import {
  anything,
  fromSchema,
  type Hints,
  type Schema,
  type Schemas,
  text,
} from './from-schema.ts';
import { mutate, mutation } from './mutations.ts';

/** A request to send; `names` stand for what was made before, in place of the path's parameters. */
export interface FuzzRequest {
  operation: Operation;
  method: string;
  params: Record<string, string | { created: number }>;
  query: string;
  headers: Record<string, string | null>;
  body: unknown;
}

export interface Operation {
  id: string;
  method: string;
  path: string;
  parameters: { in: string; name: string; schema: Schema }[];
  bodySchema: Schema | null;
  statuses: number[];
}

const document = parse(renderOpenApi());
const schemas: Schemas = document.components.schemas;

/** Every operation of the API, as it describes itself. */
export const OPERATIONS: Operation[] = Object.entries<Record<string, Described>>(
  document.paths,
).flatMap(([path, item]) =>
  Object.entries(item).map(([method, described]) => ({
    id: described.operationId,
    method: method.toUpperCase(),
    path,
    parameters: described.parameters ?? [],
    bodySchema: described.requestBody?.content['application/json']?.schema ?? null,
    statuses: Object.keys(described.responses).map(Number),
  })),
);

interface Described {
  operationId: string;
  parameters?: Operation['parameters'];
  requestBody?: { content: Record<string, { schema: Schema }> };
  responses: object;
}

/** Most requests make tasks: what is stored is what has to be dispatched afterwards. */
const WEIGHTS: Record<string, number> = {
  createTask: 24,
  createTasks: 6,
  putQueue: 6,
  patchQueue: 4,
};

const oddUrl = fc.oneof(
  fc.constantFrom(
    '/only/a/path?x=1',
    '//a.example/b',
    'http://bücher.example/ä ö?é',
    'HTTP://A.EXAMPLE:80/../%zz/%00?',
    'https://[2606:4700::1111]:8443/\\x',
    'http://user:pass@a.example/a?b#c',
    'ftp://a.example/',
  ),
  text.map((raw) => `http://a.example/${raw}`),
);
/** These leave nothing in a queue: they get queues of their own. */
const EMPTYING = ['purgeQueue', 'deleteQueue'];

const url = fc.oneof(
  { weight: 3, arbitrary: fc.webUrl({ withFragments: true, withQueryParameters: true }) },
  { weight: 1, arbitrary: oddUrl },
);
const headerName = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}$/),
  fc.constantFrom(
    ...['Authorization', 'Content-Type', 'Content-Length', 'Host', 'Transfer-Encoding', 'Expect'],
    ...['Connection', 'Keep-Alive', 'Upgrade', 'TE', 'Trailer', 'Cookie', 'webhook-id', 'Date'],
    ...['Errand-Task-Id', 'traceparent', 'Proxy-Authorization', 'accept-encoding', ':path', ''],
  ),
);
const headerValue = fc.oneof(
  fc.stringMatching(/^[ -~]{0,20}$/),
  fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)), maxLength: 8 }),
  text,
);
const queue = fc.constantFrom('default', 'a', 'b', 'c');

const HINTS: Hints = {
  url,
  baseUrl: url,
  headers: fc.oneof(
    fc.dictionary(fc.stringMatching(/^X-[A-Za-z-]{1,10}$/), fc.stringMatching(/^[!-~é]{0,9}$/)),
    fc.dictionary(headerName, headerValue, { maxKeys: 3 }),
  ),
  pool: fc.constantFrom('default', 'default', 'other'),
  payload: fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc.constant('p'.repeat(5_000)),
  ),
  payloadBase64: fc.oneof(fc.base64String(), text),
  name: fc.stringMatching(/^[ab_-]{1,3}$/),
  timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Nowhere/Land'),
  calendar: fc.constantFrom('x', 'y'),
  // A backlog of few tasks would refuse all that come after.
  maxBacklog: fc.constantFrom(null, 100_000),
  quotas: fc.constant({}),
};

/** Good values of the path's parameters. */
const PARAMS: Record<string, fc.Arbitrary<string | { created: number }>> = {
  queue,
  calendar: fc.constantFrom('x', 'y'),
  project: fc.constantFrom('default', 'acme', 'other'),
  taskId: fc.nat(100_000).map((created) => ({ created })),
  keyId: fc.nat(100).map((created) => ({ created })),
  secretId: fc.nat(100).map((created) => ({ created })),
};
const anyName = fc.constantFrom('a', 'b', 'c');
const badParam = fc.oneof(
  text.map((raw) => encodeURIComponent(raw.toWellFormed())),
  fc.constantFrom('%', '%ff', '%00', '..', '.', '~', 'a%2Fb', 'f'.repeat(32), '0'.repeat(600)),
);

const byte = fc.stringMatching(/^[\x20-\x7e\x80-\xff]{0,20}$/);
const oddHeaders: fc.Arbitrary<Record<string, string | null>> = fc.oneof(
  { weight: 12, arbitrary: fc.constant({}) },
  fc.constantFrom<Record<string, string | null>>(
    { authorization: null },
    { 'errand-project': 'acme' },
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/problem+json; charset=latin1' },
    { 'content-length': '99999999999' },
  ),
  fc.record({ authorization: byte.map((raw) => `Bearer ${raw}`) }),
  fc.record({ 'errand-project': byte }),
  fc.record({ 'idempotency-key': fc.oneof(fc.constantFrom('k1', 'k2', 'k3'), byte) }),
);

/** Requests of which most are good, and each other has something wrong. */
export const fuzzRequest: fc.Arbitrary<FuzzRequest> = fc
  .oneof(
    ...OPERATIONS.map((operation) => ({
      weight: WEIGHTS[operation.id] ?? 1,
      arbitrary: fc.constant(operation),
    })),
  )
  .chain((operation) =>
    fc.record({
      operation: fc.constant(operation),
      method: rarely(
        fc.constant(operation.method),
        fc.constantFrom('PUT', 'POST', 'HEAD', 'OPTIONS'),
      ),
      params: paramsOf(operation),
      query: queryOf(operation),
      headers: oddHeaders,
      body: bodyOf(operation),
    }),
  );

function rarely<Value>(good: fc.Arbitrary<Value>, bad: fc.Arbitrary<Value>): fc.Arbitrary<Value> {
  return fc.oneof({ weight: 15, arbitrary: good }, { weight: 1, arbitrary: bad });
}

function paramsOf({ id, path }: Operation): fc.Arbitrary<FuzzRequest['params']> {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
  const record = names.map((name) => {
    const good = EMPTYING.includes(id) ? fc.constantFrom('c', 'd') : PARAMS[name];
    return [name, rarely(good ?? anyName, badParam)] as const;
  });
  return fc.record(Object.fromEntries(record));
}

function queryOf({ parameters }: Operation): fc.Arbitrary<string> {
  const known = parameters.filter((each) => each.in === 'query');
  const values = known.map(({ name, schema }) => {
    return [name, rarely(fromSchema(schema, schemas, {}), anything)] as const;
  });
  const good = fc.record(Object.fromEntries(values), { requiredKeys: [] }).map((fields) => {
    const pairs = Object.entries(fields).map(([name, value]) => [name, String(value)] as const);
    return pairs.length === 0 ? '' : `?${new URLSearchParams(Object.fromEntries(pairs))}`;
  });
  const bad = fc.oneof(
    fc.webQueryParameters().map((raw) => `?${raw}`),
    fc.constantFrom('?cursor=WyJhIl0', '?cursor=WyJcdTAwMDAiXQ', '?limit=1&limit=2', '?%ff=%00'),
  );
  // What a page is asked for by is hardly ever right by chance: no cursor can be made up.
  return rarely(fc.oneof(good, fc.constant('')), bad);
}

/** Bytes are sent as they are, everything else as JSON. */
function bodyOf({ bodySchema }: Operation): fc.Arbitrary<unknown> {
  if (bodySchema === null) return fc.constant(undefined);
  const good = fromSchema(bodySchema, schemas, HINTS);
  return fc.oneof(
    { weight: 8, arbitrary: good },
    {
      weight: 4,
      arbitrary: fc.tuple(good, mutation).map(([value, change]) => mutate(value, change)),
    },
    { weight: 1, arbitrary: anything },
    { weight: 1, arbitrary: fc.tuple(good, fc.uint8Array({ maxLength: 3 }), fc.nat()).map(torn) },
  );
}

/** JSON with some bytes over it, or cut in the middle. */
function torn([value, noise, place]: [unknown, Uint8Array, number]): Uint8Array {
  const bytes = Buffer.from(JSON.stringify(value) ?? '');
  const at = place % (bytes.length + 1);
  if (noise.length === 0) return new Uint8Array(bytes.subarray(0, at));
  return new Uint8Array(Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at)]));
}
