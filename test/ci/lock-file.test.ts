import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';

interface Locked {
  version: string;
  integrity?: string;
  resolved?: string;
  link?: boolean;
  dev?: boolean;
}

const root = new URL('../../', import.meta.url);
const read = async (name: string) => JSON.parse(await readFile(new URL(name, root), 'utf8'));
const manifest = await read('package.json');
const { packages }: { packages: Record<string, Locked> } = await read('package-lock.json');
const locked = Object.entries(packages).filter(([path, { link }]) => path !== '' && !link);

describe('package-lock.json', () => {
  it('has what package.json asks for', () => {
    const kinds = ['dependencies', 'devDependencies', 'optionalDependencies'];
    const asked = Object.assign({}, ...kinds.map((kind) => manifest[kind] ?? {}));
    const missing = Object.keys(asked).filter((name) => !packages[`node_modules/${name}`]);
    expect(missing).toEqual([]);
  });

  it('pins each package that runs in production by its hash', () => {
    const loose = locked.filter(([, { dev, integrity }]) => !dev && !integrity);
    expect(loose.map(([path]) => path)).toEqual([]);
  });

  it('takes nothing from elsewhere than the registry', () => {
    const other = locked.filter(([, { resolved = '' }]) => {
      return resolved !== '' && !resolved.startsWith('https://registry.npmjs.org/');
    });
    expect(other.map(([path]) => path)).toEqual([]);
  });
});
