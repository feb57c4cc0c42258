import { readFileSync } from 'node:fs';

/** The package's version; its root is two folders up, from `src/cli` as from `dist/cli`. */
export function readVersion(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return JSON.parse(manifest).version;
}
