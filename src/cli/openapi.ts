import { readFile, writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { ErrandError } from '../errors.ts';

interface Options {
  write?: string;
  check?: string;
}

/** `errand openapi`: the description of the REST API, as the code has it. */
export function openapiCommand(): Command {
  return new Command('openapi')
    .description('print the OpenAPI description of the REST API')
    .option('--write <file>', 'write it to a file instead')
    .option('--check <file>', 'end with 1 when the file differs from it')
    .action(runOpenapi);
}

async function runOpenapi({ write, check }: Options): Promise<void> {
  const { renderOpenApi } = await import('../api/openapi.ts');
  const text = await renderOpenApi();
  if (check !== undefined) return compare(check, text);
  if (write === undefined) process.stdout.write(text);
  else await writeFile(write, text);
}

async function compare(file: string, text: string): Promise<void> {
  if ((await readFile(file, 'utf8').catch(() => null)) === text) return;
  throw new ErrandError(
    'openapi-differs',
    `${file} is not what the code describes: run \`errand openapi --write ${file}\``,
  );
}
