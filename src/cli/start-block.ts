export interface StartBlock {
  version: string;
  /** Where the service answers. */
  url: string;
  /** Where the tasks are kept. */
  data: string;
  adminKey: string;
  source: KeySource;
  /** A worker that the first task may be sent to. */
  sampleUrl: string;
}

/** Where the admin key comes from; one that was made now is shown, this once. */
export type KeySource =
  | { kind: 'made-now'; file: string }
  | { kind: 'kept'; file: string }
  | { kind: 'environment' };

/** What `errand dev` says when it is up: where it is, and two commands to paste into a shell. */
export function renderStartBlock(block: StartBlock): string {
  const { version, url, data, adminKey, source, sampleUrl } = block;
  const key = shellKey(source, adminKey);
  const task = JSON.stringify({ url: sampleUrl, payload: 'hello' });
  return `
  errand ${version} is running

    URL        ${url}
    Data       ${data}
    Admin key  ${describeKey(source, adminKey)}

  Enqueue a first task; a sample worker that runs along answers it:

    curl -X POST ${url}/v1/queues/default/tasks \\
      -H "Authorization: Bearer ${key}" \\
      -H 'Content-Type: application/json' \\
      -d '${task}'

  and see what became of it:

    curl -H "Authorization: Bearer ${key}" '${url}/v1/tasks?queue=default'

`;
}

function describeKey(source: KeySource, adminKey: string): string {
  switch (source.kind) {
    case 'made-now':
      return `${adminKey}\n               (shown this once, kept in ${source.file})`;
    case 'kept':
      return `kept in ${source.file}`;
    case 'environment':
      return 'from ERRAND_ADMIN_KEY';
  }
}

/** Text for inside double quotes: the shell puts the key there where it is not to be shown. */
function shellKey(source: KeySource, adminKey: string): string {
  switch (source.kind) {
    case 'made-now':
      return adminKey;
    case 'kept':
      return `$(cat '${source.file.replaceAll("'", `'\\''`)}')`;
    case 'environment':
      return '$ERRAND_ADMIN_KEY';
  }
}
