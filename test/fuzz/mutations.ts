import fc from 'fast-check';
import { anything, text } from './from-schema.ts';

/** One thing that is wrong with a JSON value, somewhere in it. */
export interface Mutation {
  kind: 'replace' | 'remove' | 'add' | 'wrap' | 'repeat';
  /** Which of the value's places: taken modulo their number. */
  place: number;
  key: string;
  value: unknown;
}

export const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom('replace', 'replace', 'replace', 'remove', 'add', 'wrap', 'repeat'),
  place: fc.nat(1_000),
  key: text,
  value: anything,
});

/** A copy of the value in which one place is wrong. */
export function mutate(value: unknown, change: Mutation): unknown {
  const holder = { root: structuredClone(value) };
  const places = placesOf(holder);
  const { parent, key } = places[change.place % places.length]!;
  const inner = parent[key];
  switch (change.kind) {
    case 'replace':
      parent[key] = change.value;
      break;
    case 'remove':
      if (Array.isArray(parent)) parent.splice(Number(key), 1);
      else delete parent[key];
      break;
    case 'add':
      if (isObject(inner) && !Array.isArray(inner)) define(inner, change.key, change.value);
      else parent[key] = change.value;
      break;
    case 'wrap':
      parent[key] = Array.isArray(inner) ? { 0: inner } : [inner];
      break;
    case 'repeat':
      parent[key] = Array(3).fill(inner);
  }
  return holder.root;
}

interface Place {
  parent: Record<string, unknown>;
  key: string;
}

function placesOf(parent: object): Place[] {
  const children = Object.entries(parent);
  const own = children.map(([key]) => ({ parent: parent as Record<string, unknown>, key }));
  return [...own, ...children.flatMap(([, child]) => (isObject(child) ? placesOf(child) : []))];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** An assignment to `__proto__` would make no field of that name. */
function define(object: object, key: string, value: unknown): void {
  Object.defineProperty(object, key, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}
