import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { killHard, type Service, startService } from '../e2e/service.ts';
import { until } from '../support/until.ts';
import type { Verdict } from './checker.ts';
import { inspect, leaveLogs, quiet } from './inspection.ts';
import { createLoad, type Load, type LoadOptions, QUEUES } from './load.ts';
import { type Network, startNetwork } from './network.ts';
import { type ChaosPostgres, startPostgres } from './postgres.ts';
import type { Random } from './random.ts';
import { type ChaosTarget, startTarget } from './target.ts';

/** What one run is made of: a database, processes of the service, a target, and load. */
export interface World {
  folder: string;
  postgres: ChaosPostgres;
  /** Leads to the database, for who is told to go that way. */
  network: Network;
  target: ChaosTarget;
  load: Load;
  random: Random;
  /** What a busy machine is given, as a factor: bounds of time are that much longer. */
  patience: number;
  /** Processes that live now, by what they do. */
  apis: Service[];
  dispatchers: Service[];
  /** Starts one more. `env` goes over the defaults; `entry` is the program of another version. */
  start(role: Role, env?: Record<string, string>, entry?: string): Promise<Service>;
  /** SIGKILL. What it had in flight may come twice. */
  kill(service: Service): Promise<void>;
  /** SIGTERM, which it must obey with 0. */
  leave(service: Service): Promise<void>;
  /** Calls of this dispatcher that arrived and are not settled. */
  callsOf(service: Service): Promise<number>;
  /** Says that what this dispatcher has in flight now may come twice. */
  exposeCalls(service: Service): Promise<void>;
  /** Waits for a call of a task that is sent from now on; returns and notes the seconds it took. */
  dispatchesAgain(): Promise<number>;
  /** Says that something was not as it must be; the run goes on. */
  complain(problem: string): void;
  /** Something worth knowing, for the table. */
  remark(text: string): void;
  /** Ends the load, waits until all is quiet, and judges. */
  finish(): Promise<Report>;
  close(): Promise<void>;
}

export type Role = 'api' | 'dispatcher';

/** What is told of a run. */
export interface Report extends Verdict {
  /** Calls in flight at the faults: so many may have come twice. */
  exposed: number;
  /** The longest wait for a call after the database came back; null when it was never away. */
  againSeconds: number | null;
  remarks: string[];
  /** Empty when all was as it must be. */
  problems: string[];
}

export interface WorldOptions {
  random: Random;
  /** Starts a database in the folder; the world ends it. Default: an ordinary one. */
  postgres?: (folder: string) => Promise<ChaosPostgres>;
  /** The URL that the processes are given. Default: the database's own. */
  databaseUrl?: (postgres: ChaosPostgres, network: Network) => Promise<string> | string;
  /** How many of each process there are from the start. Default 1 and 2. */
  apis?: number;
  dispatchers?: number;
  /** Settings of every process. */
  env?: Record<string, string>;
  /** Default 1. */
  patience?: number;
  /** Where to leave what the processes logged, and every attempt. Default: nowhere. */
  logs?: string | undefined;
  /** Fields of every task. */
  fields?: LoadOptions['fields'];
}

/** Seconds after which a dispatcher that says nothing is taken for dead: as short as may be. */
export const TAKEOVER_SECONDS = 2;
/** What was in the kernel's hands when a process was killed has arrived by then. */
const ARRIVAL_MS = 100;
const PRESENT_WITHIN_MS = 30_000;
const LIMITS = {
  rateLimits: {
    maxDispatchesPerSecond: 100_000,
    maxBurstSize: 100_000,
    maxConcurrentDispatches: 1_000,
  },
};

/** Makes a world whose processes are up, with their shards shared, and nothing sent yet. */
export async function createWorld(options: WorldOptions): Promise<World> {
  const { random, patience = 1 } = options;
  const folder = await mkdtemp(join(tmpdir(), 'errand-chaos-'));
  const ending: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  try {
    // The user that PostgreSQL runs as for root has to get through.
    await chmod(folder, 0o711);
    const place = join(folder, 'database');
    await mkdir(place, { mode: 0o711 });
    const postgres = await (options.postgres ?? startPostgres)(place);
    ending.push(() => postgres.stop());
    const network = await startNetwork(postgres.url);
    ending.push(() => network.close());
    const target = await startTarget(random);
    ending.push(() => target.close());
    const databaseUrl = (await options.databaseUrl?.(postgres, network)) ?? postgres.url;
    const world = compose(
      { folder, postgres, network, target, random, patience },
      databaseUrl,
      options,
      ending,
    );
    await populate(world, options);
    return world;
  } catch (error) {
    for (const end of ending.reverse()) await end();
    throw error;
  }
}

async function populate(world: World, { apis = 1, dispatchers = 2 }: WorldOptions): Promise<void> {
  const first = await world.start('api');
  for (const queue of QUEUES) await first.client.queues.put(queue, LIMITS);
  await Promise.all([
    ...Array.from({ length: apis - 1 }, () => world.start('api')),
    ...Array.from({ length: dispatchers }, () => world.start('dispatcher')),
  ]);
  const areShared = async () => {
    const [row] = await world.postgres.sql`
      select count(distinct dispatcher)::integer as owners from errand.ownership
      where dispatcher is not null`;
    return row!.owners === dispatchers;
  };
  await until(areShared, {
    timeoutMs: PRESENT_WITHIN_MS,
    what: 'shards shared by all dispatchers',
  });
}

function compose(
  parts: Pick<World, 'folder' | 'postgres' | 'network' | 'target' | 'random' | 'patience'>,
  databaseUrl: string,
  options: WorldOptions,
  ending: (() => Promise<unknown>)[],
): World {
  const { postgres, target, random } = parts;
  const apis: Service[] = [];
  const dispatchers: Service[] = [];
  const problems: string[] = [];
  const remarks: string[] = [];
  const urls = () => apis.map(({ url }) => url);
  const load = createLoad({ apis: urls, target, random, fields: options.fields });
  let exposed = 0;
  let againSeconds: number | null = null;
  const everyone: Service[] = [];
  // Whoever ends this process in the middle of a run wants no other to stay behind.
  const killAll = () => {
    for (const { process } of everyone) process.child.kill('SIGKILL');
  };
  process.once('exit', killAll);
  ending.push(async () => process.off('exit', killAll));
  const forget = (service: Service) => {
    for (const list of [apis, dispatchers]) {
      if (list.includes(service)) list.splice(list.indexOf(service), 1);
    }
  };

  const world: World = {
    ...parts,
    load,
    apis,
    dispatchers,
    async start(role, env = {}, entry) {
      const defaults = {
        ERRAND_ROLES: role,
        ERRAND_TAKEOVER_SECONDS: String(TAKEOVER_SECONDS),
      };
      const service = await startService(
        databaseUrl,
        { ...defaults, ...options.env, ...env },
        entry,
      );
      ending.push(() => killHard(service));
      everyone.push(service);
      const list = role === 'api' ? apis : dispatchers;
      list.push(service);
      void service.process.ended.then((code) => {
        if (list.includes(service)) problems.push(`a process (${role}) ended by itself: ${code}`);
      });
      return service;
    },
    async kill(service) {
      const isDispatcher = dispatchers.includes(service);
      forget(service);
      service.process.child.kill('SIGKILL');
      if (isDispatcher) await world.exposeCalls(service);
    },
    async leave(service) {
      forget(service);
      const code = await service.end('SIGTERM');
      if (code !== 0) problems.push(`SIGTERM ended a process with ${code} instead of 0`);
    },
    async callsOf({ process }) {
      const leases = await postgres.sql<{ id: string }[]>`
        select l.lease_id as id from errand.lease l
        join errand.dispatcher d on d.id = l.dispatcher where d.pid = ${process.child.pid!}`;
      const arrived = new Set(target.arrivals.map(({ lease }) => lease));
      return leases.filter(({ id }) => arrived.has(id)).length;
    },
    async exposeCalls(service) {
      await pause(ARRIVAL_MS);
      exposed += await world.callsOf(service);
    },
    async dispatchesAgain() {
      const startMs = performance.now();
      const last = load.newest();
      await until(() => target.newest() > last, {
        timeoutMs: 60_000,
        what: 'a call after a fault',
      });
      const seconds = (performance.now() - startMs) / 1_000;
      againSeconds = Math.max(againSeconds ?? 0, seconds);
      return seconds;
    },
    complain: (problem) => void problems.push(problem),
    remark: (text) => void remarks.push(text),
    async finish() {
      await load.stop();
      try {
        await quiet(postgres, everyone);
        // Together, as a machine does that is shut down: nothing has to be handed over.
        await Promise.all([...apis, ...dispatchers].map(world.leave));
      } finally {
        if (options.logs !== undefined) await leaveLogs(options.logs, everyone, world);
      }
      return inspect(world, everyone, { exposed, againSeconds, remarks, problems });
    },
    async close() {
      for (const end of ending.reverse()) await end();
    },
  };
  return world;
}
