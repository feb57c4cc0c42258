/** Runs one row of `rows/`, named by the first argument, with the settings of the second. */
import { serve } from './child.ts';
import type { RowSettings, RowVerbs } from './row.ts';

const [name, settings] = process.argv.slice(2);
const { openRow } = (await import(`./rows/${name}.ts`)) as {
  openRow(settings: RowSettings): Promise<RowVerbs>;
};
serve(await openRow(JSON.parse(settings!)));
