import { Validator } from '@seriousme/openapi-schema-validator';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { renderOpenApi } from '../../src/api/openapi.ts';

interface Operation {
  operationId?: string;
  summary?: string;
  tags?: string[];
  security?: object[];
  responses: Record<string, { content?: object }>;
}

const document = parse(renderOpenApi());
const operations: [string, Operation][] = Object.entries<Record<string, Operation>>(
  document.paths,
).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]): [string, Operation] => [
    `${method} ${path}`,
    operation,
  ]),
);

describe('renderOpenApi()', () => {
  it('renders valid OpenAPI 3.1', async () => {
    const result = await new Validator().validate(structuredClone(document));
    expect(result).toEqual({ valid: true });
    expect(document.openapi).toMatch(/^3\.1\./);
  });

  it('renders the same text every time', () => {
    expect(renderOpenApi()).toBe(renderOpenApi());
  });

  it('gives every operation an id of its own', () => {
    const ids = operations.map(([, operation]) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).not.toContain(undefined);
  });

  it('refers to nothing that is missing', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)];
    const missing = references.filter(
      ([, path = '']) => path.split('/').reduce((at, key) => at?.[key], document) === undefined,
    );
    expect(missing).toEqual([]);
    expect(references.length).toBeGreaterThan(0);
  });

  it.each(operations)(
    '%s has a summary, a declared tag, and problems as problem+json',
    (_, operation) => {
      const declared = document.tags.map((tag: { name: string }) => tag.name);
      expect(operation.summary).toEqual(expect.any(String));
      expect(declared).toEqual(expect.arrayContaining(operation.tags ?? ['no tag']));
      for (const [status, response] of Object.entries(operation.responses)) {
        if (status < '400' || operation.operationId === 'getReadiness') continue;
        expect(Object.keys(response.content ?? {})).toEqual(['application/problem+json']);
      }
    },
  );

  it.each(operations.filter(([name]) => name.includes(' /v1/')))(
    '%s needs a key and says what comes without one',
    (_, operation) => {
      expect(operation.security ?? document.security).toEqual([{ apiKey: [] }]);
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(['401', '503']));
    },
  );
});
