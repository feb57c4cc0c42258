import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { renderOpenApi } from '../../src/api/openapi.ts';
import { type ApiFixture, createApiFixture, expectProblem } from './api-fixture.ts';

let fixture: ApiFixture;
let call: ApiFixture['call'];

beforeAll(async () => {
  fixture = await createApiFixture();
  ({ call } = fixture);
});
afterAll(() => fixture.close());

describe('docsRoutes()', () => {
  it('serves the document as YAML and as JSON', async () => {
    const yaml = await call('GET', '/openapi.yaml');
    expect(yaml.body).toBe(renderOpenApi());
    expect(yaml.headers.get('content-type')).toBe('application/yaml; charset=utf-8');
    expect((await call('GET', '/openapi.json')).body).toEqual(parse(yaml.body));
  });

  it('serves a page whose every part comes from this server', async () => {
    const page = await call('GET', '/docs');
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
    const parts = [...page.body.matchAll(/(?:src|href|spec-url)="(?!data:)([^"]+)"/g)];
    expect(parts.length).toBe(4);
    for (const [, path = ''] of parts) {
      expect(path).toMatch(/^\/(?!\/)/);
      expect((await call('GET', path)).status).toBe(200);
    }
  });

  it('serves no other file', async () => {
    for (const name of ['package.json', '..%2fapp.ts', '%2e%2e/app.ts', 'docs.css/x']) {
      expectProblem(await call('GET', `/docs/${name}`), 'not-found');
    }
  });

  it('leads from the root to the page', async () => {
    const { status, headers } = await call('GET', '/');
    expect([status, headers.get('location')]).toEqual([302, '/docs']);
  });
});
