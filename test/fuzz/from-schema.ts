import fc from 'fast-check';

/** As much of JSON Schema as the API's own document uses. */
export interface Schema {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  pattern?: string;
  format?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
}

export type Schemas = Record<string, Schema>;

/** Fields whose values are more than their schema tells. */
export type Hints = Record<string, fc.Arbitrary<unknown>>;

const MOST_ITEMS = 4;

/** Values that a schema describes, with a liking for its edges. */
export function fromSchema(schema: Schema, schemas: Schemas, hints: Hints): fc.Arbitrary<unknown> {
  const of = (inner: Schema) => fromSchema(inner, schemas, hints);
  if (schema.$ref !== undefined) return of(schemas[schema.$ref.split('/').at(-1)!]!);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return fc.oneof(...choices.map(of));
  if (schema.allOf !== undefined) return of(Object.assign({}, ...schema.allOf));
  if (Array.isArray(schema.type)) {
    return fc.oneof(...schema.type.map((type) => of({ ...schema, type })));
  }
  switch (schema.type) {
    case 'object':
      return objects(schema, of, hints);
    case 'array':
      return fc.array(of(schema.items ?? {}), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.max(
          schema.minItems ?? 0,
          Math.min(schema.maxItems ?? MOST_ITEMS, MOST_ITEMS),
        ),
      });
    case 'string':
      return strings(schema);
    case 'integer':
    case 'number':
      return numbers(schema);
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    default:
      return anything;
  }
}

function objects(
  { properties = {}, required = [], additionalProperties }: Schema,
  of: (schema: Schema) => fc.Arbitrary<unknown>,
  hints: Hints,
): fc.Arbitrary<unknown> {
  const fields = Object.entries(properties).map(([name, schema]) => {
    return [name, hints[name] ?? of(schema)] as const;
  });
  const optional = fields.map(([name]) => name).filter((name) => !required.includes(name));
  const all = fc.record(Object.fromEntries(fields));
  // Few fields at a time: of two that exclude each other, or of ten that may each be refused.
  const some = fc
    .tuple(
      all,
      fc.oneof(
        fc.subarray(optional, { maxLength: Math.min(3, optional.length) }),
        fc.subarray(optional),
      ),
    )
    .map(([full, kept]) => {
      const names = [...required, ...kept];
      return Object.fromEntries(Object.entries(full).filter(([name]) => names.includes(name)));
    });
  if (typeof additionalProperties !== 'object') return some;
  return fc.dictionary(text, of(additionalProperties), { maxKeys: 3 });
}

function strings({ pattern, format, minLength = 0, maxLength = 40 }: Schema): fc.Arbitrary<string> {
  if (format === 'date-time') return times;
  if (pattern !== undefined) return matching(pattern);
  const most = Math.min(maxLength, 40);
  return fc.oneof(
    fc.string({ minLength, maxLength: most }),
    fc.string({ minLength, maxLength: most, unit: 'binary' }),
    fc.constant('x'.repeat(maxLength)),
  );
}

/** Patterns that look ahead can't be generated from: such fields need hints. */
function matching(pattern: string): fc.Arbitrary<string> {
  if (pattern.includes('(?')) return fc.stringMatching(/^[a-z]{1,9}$/);
  return fc.stringMatching(new RegExp(pattern), { maxLength: 60 });
}

function numbers(schema: Schema): fc.Arbitrary<number> {
  const { exclusiveMinimum, exclusiveMaximum, minimum = -1e6, maximum = 1e6 } = schema;
  const [min, max] = [exclusiveMinimum ?? minimum, exclusiveMaximum ?? maximum];
  const edges = fc.constantFrom(min, max, Math.min(max, min + 1));
  if (schema.type === 'integer') {
    const bound = (value: number) => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, value));
    return fc.oneof(edges, fc.integer({ min: bound(min), max: bound(max) }));
  }
  return fc.oneof(edges, fc.double({ min, max, noNaN: true }), fc.integer({ min: 0, max: 9 }));
}

const times = fc.oneof(
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc.constantFrom('2030-01-01T00:00:00+14:00', '2016-12-31T23:59:60Z', '0000-01-01T00:00:00Z'),
);

/** What programs stumble over. */
export const text: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('', '\0', '\ud800', '__proto__', 'NULL', '{}', "';--", '😀', '\u202e', '\r\n'),
);

export const anything: fc.Arbitrary<unknown> = fc.oneof(
  text,
  fc.double(),
  fc.constantFrom<unknown>(null, true, -1, -0, 0, 1, 1e308, 5e-324, 2 ** 31, 2 ** 53, [], {}, [[]]),
  fc.jsonValue({ maxDepth: 2 }),
);
