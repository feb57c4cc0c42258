/** An errand that a test can kill: runs a database on the data dir it is given until it is ended. */
import { startEmbeddedPostgres } from '../../src/embedded/embedded-postgres.ts';

const [dataDir = ''] = process.argv.slice(2);
try {
  const { url, pid } = await startEmbeddedPostgres({ dataDir, settings: { fsync: 'off' } });
  process.stdout.write(`${JSON.stringify({ url, pid })}\n`);
  setInterval(() => {}, 60_000); // Holds the process, as a listening API would.
} catch (error) {
  process.stdout.write(`${JSON.stringify({ error: (error as Error).message })}\n`);
}
