import { Command } from 'commander';
import type { Sql } from '../store/database.ts';
import {
  type DispatcherRecord,
  LIVE_SECONDS,
  listDispatchers,
  listUnservedPools,
  type UnservedPool,
} from '../store/ownership-list.ts';
import { renderTable } from './table.ts';
import { withDatabase } from './with-database.ts';

const HEADINGS = ['id', 'pool', 'host', 'pid', 'since', 'last seen', 'shards'];

/** `errand dispatchers`: who owns what, and which queues nobody serves. */
export function dispatchersCommand(): Command {
  return new Command('dispatchers')
    .description(
      'list the dispatchers, their shards, and the pools that have queues but none of them',
    )
    .action(runDispatchers);
}

async function runDispatchers(): Promise<void> {
  const { dispatchers, unserved } = await withDatabase(look);
  process.stdout.write(renderTable(HEADINGS, dispatchers.map(row)));
  process.stdout.write(unserved.map(warning).join(''));
}

async function look(sql: Sql) {
  return { dispatchers: await listDispatchers(sql), unserved: await listUnservedPools(sql) };
}

function row({ id, pool, host, pid, startedAt, seenAt, isLive, shards }: DispatcherRecord) {
  const seen = `${seenAt.toISOString()}${isLive ? '' : ` (over ${LIVE_SECONDS} s ago)`}`;
  return [id, pool, host, pid, startedAt.toISOString(), seen, ranges(shards)];
}

/** As `0-3 7`; `-` for none. */
function ranges(shards: readonly number[]): string {
  const spans: { first: number; last: number }[] = [];
  for (const shard of shards) {
    const span = spans.at(-1);
    if (span?.last === shard - 1) span.last = shard;
    else spans.push({ first: shard, last: shard });
  }
  const texts = spans.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
  return texts.join(' ') || '-';
}

function warning({ pool, queues }: UnservedPool): string {
  const many = queues === 1 ? '1 queue is' : `${queues} queues are`;
  return `pool ${pool} is not served: ${many} set to it and no live dispatcher is; run \`errand dispatch --pool ${pool}\`\n`;
}
