import { StoreError } from '../store/errors.ts';
import { createApi } from './app.ts';
import { describeApi, openApiYaml } from './describe-api.ts';
import type { ApiParts } from './parts.ts';

/** `openapi.yaml`: what the routes of this version declare, whatever the configuration. */
export function renderOpenApi(): string {
  return openApiYaml(describeApi(createApi(NO_PARTS)));
}

/** Enough to declare the routes; nothing of it is ever called. */
const NO_PARTS: ApiParts = {
  database: {
    run: () => Promise.reject(new StoreError('database-unavailable', 'There is no database here')),
    close: () => Promise.resolve(),
  },
  adminKey: '',
  publicUrl: 'http://localhost',
  wake: () => {},
  isReady: () => Promise.resolve({ ready: false }),
  log: { debug() {}, info() {}, warn() {}, error() {} },
};
