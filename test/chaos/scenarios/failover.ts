/** The primary dies, and its standby takes its place. */
import { setTimeout as pause } from 'node:timers/promises';
import { type Network, startNetwork } from '../network.ts';
import { startPair } from '../postgres.ts';
import { type How, type Scenario, worldOf } from '../scenario.ts';
import { createWorld, type Report, type World } from '../world.ts';

const LOAD_PER_SECOND = 200;
const BEHIND_MS = 500;

export const failedOver: Scenario = {
  name: 'failover to a synchronous standby',
  isInShort: true,
  run: (how) => inPair(how, true, ({ failOver }) => failOver()),
};

/**
 * What was answered 201 while the standby got nothing is gone with the primary: asynchronous replication
 * promises no more; what was settled in that time is called again. So both are told, not blamed, but
 * everything before it must be there.
 */
export const failedOverLate: Scenario = {
  name: `failover to an asynchronous standby, ${BEHIND_MS} ms behind`,
  isInShort: false,
  async run(how) {
    let newest = 0;
    const report = await inPair(how, false, async ({ world, replication, failOver }) => {
      newest = world.load.newest();
      replication.change('black-hole');
      await pause(BEHIND_MS);
      await failOver();
    });
    return excuseLoss(report, newest - LOAD_PER_SECOND);
  },
};

interface Pair {
  world: World;
  /** Between primary and standby. */
  replication: Network;
  failOver(): Promise<void>;
}

async function inPair(
  how: How,
  isSynchronous: boolean,
  happen: (pair: Pair) => Promise<void>,
): Promise<Report> {
  const ending: (() => Promise<unknown>)[] = [];
  let pair: Awaited<ReturnType<typeof startPair>>;
  let replication: Network;
  const via = async (primaryUrl: string) => {
    replication = await startNetwork(primaryUrl);
    ending.push(() => replication.close());
    return replication.url;
  };
  try {
    const world = await createWorld({
      ...worldOf(how),
      async postgres(folder) {
        pair = await startPair(folder, { isSynchronous, via });
        ending.push(pair.primary.stop);
        // It is the standby that is left in the end; until then the primary knows best.
        return { ...pair.standby, sql: pair.primary.sql };
      },
      databaseUrl(_, network) {
        network.leadTo(pair.primary.url);
        return network.url;
      },
    });
    ending.push(world.close);
    const failOver = async () => {
      await pair.primary.crash();
      await pair.standby.sql`select pg_promote()`;
      world.postgres.sql = pair.standby.sql;
      world.network.leadTo(pair.standby.url);
      await world.dispatchesAgain();
    };
    world.load.start(LOAD_PER_SECOND);
    await pause(how.random.between(1_000, 3_000));
    await happen({ world, replication: replication!, failOver });
    await pause(1_000);
    return await world.finish();
  } finally {
    for (const end of ending.reverse()) await end();
  }
}

function excuseLoss(report: Report, safeUntil: number): Report {
  const early = report.lost.filter((token) => token <= safeUntil);
  return {
    ...report,
    remarks: [...report.remarks, 'the standby did not have it yet'],
    problems: [
      ...report.problems.filter((problem) => !/^lost |came twice/.test(problem)),
      ...early.map((token) => `lost ${token}, which was sent long before`),
    ],
  };
}
