import { readFile, stat } from 'node:fs/promises';
import { isIP } from 'node:net';
import { normalName } from './address-rules.ts';

const PATH =
  process.platform === 'win32'
    ? `${process.env.SystemRoot ?? 'C:\\Windows'}\\System32\\drivers\\etc\\hosts`
    : '/etc/hosts';

/**
 * The addresses that the machine's own file of names has for a host: it goes before DNS, and the
 * asynchronous resolver does not read it. Read again when it changed; a missing file has no names.
 */
export function createHostsFile(path = PATH): (host: string) => Promise<string[]> {
  let version = '';
  let names = new Map<string, string[]>();

  return async (host) => {
    try {
      const { mtimeMs, size } = await stat(path);
      if (version !== `${mtimeMs} ${size}`) {
        names = parseHosts(await readFile(path, 'utf8'));
        version = `${mtimeMs} ${size}`;
      }
    } catch {
      names = new Map(); // There is none, or it may not be read: so it says nothing.
      version = '';
    }
    return names.get(normalName(host)) ?? [];
  };
}

function parseHosts(text: string): Map<string, string[]> {
  const names = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...hosts] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const host of hosts.map(normalName)) {
      const known = names.get(host) ?? [];
      names.set(host, known.includes(address) ? known : [...known, address]);
    }
  }
  return names;
}
