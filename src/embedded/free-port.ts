import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { ErrandError } from '../errors.ts';

/** The port that `file` remembers, if it is free; else any free one, which `file` then remembers. */
export async function findPort(file: string): Promise<number> {
  const remembered = Number(await readFile(file, 'utf8').catch(() => '0'));
  if (remembered > 0 && (await tryPort(remembered)) !== null) return remembered;
  const port = await tryPort(0);
  if (port === null) {
    throw new ErrandError('embedded-postgres-port', 'Cannot listen on any port of 127.0.0.1');
  }
  await writeFile(file, `${port}\n`);
  return port;
}

async function tryPort(wanted: number): Promise<number | null> {
  const server = createServer().listen(wanted, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return null;
  }
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
