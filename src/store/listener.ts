import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { WakeUp } from '../model.ts';
import { connect, type Database, type Sql } from './database.ts';
import { decodeWakeUps, notify, WAKE_CHANNEL } from './notify.ts';

export interface ListenOptions {
  /** Where to listen: Postgres itself, for a pooler in transaction mode keeps no LISTEN. */
  url: string;
  /** By which we notify ourselves. */
  database: Database;
  onWakeUps: (wakeUps: WakeUp[]) => void;
  /** Something may have been missed: look at everything. */
  onGap: () => void;
  /** Told when it is found that notifications do not arrive, and when they do again. */
  onHearing: (isHearing: boolean) => void;
  /** Between two looks whether notifications arrive. Default 10,000. */
  checkMs?: number;
}

export interface Listener {
  close(): Promise<void>;
}

const CHECK_MS = 10_000;
/** A notification takes milliseconds; what is not heard by then was not delivered. */
const ECHO_WITHIN_MS = 2_000;
/** A pooler does not change its ways, and every LISTEN leaves something behind in it. */
const DEAF_PAUSES = 6;
/** Of a session that is only now being made. */
const LISTEN_WITHIN_MS = 2_000;

/**
 * Listens for what other processes enqueue, on a connection of its own, and hears itself from time to
 * time: a connection may be half open for hours, a LISTEN may have failed, and a pooler in transaction mode
 * takes a LISTEN and never delivers. Who does not hear itself begins a session anew; who still does not is told
 * to be deaf. Nothing depends on it but speed: the poller finds the same, within 300 ms.
 */
export async function listenForWakeUps(options: ListenOptions): Promise<Listener> {
  const { database, checkMs = CHECK_MS } = options;
  const echo = `errand_echo_${randomUUID()}`;
  const stopped = new AbortController();
  let isHearing = true;
  let onEcho = () => {};
  let session = open();
  await begun(session);

  function open(): Sql {
    return connect({ url: options.url, connections: 1, name: 'errand listen' });
  }

  /** What comes of it is found out by the echo. */
  async function begun(sql: Sql): Promise<void> {
    const listening = Promise.all([
      sql.listen(WAKE_CHANNEL, hear, options.onGap),
      sql.listen(echo, () => onEcho()),
    ]);
    await Promise.race([listening.catch(ignore), delay(LISTEN_WITHIN_MS)]);
  }

  function hear(payload: string): void {
    const wakeUps = decodeWakeUps(payload);
    if (wakeUps === null) options.onGap();
    else options.onWakeUps(wakeUps);
  }

  /** Null when the database is away, which says nothing. */
  async function hearsItself(): Promise<boolean | null> {
    const heard = new Promise<true>((resolve) => {
      onEcho = () => resolve(true);
    });
    try {
      await database.run((sql) => notify(sql, echo, ''));
    } catch {
      return null;
    }
    return Promise.race([heard, delay(ECHO_WITHIN_MS, false)]);
  }

  async function check(): Promise<void> {
    let hears = await hearsItself();
    if (hears === false) {
      await end(session);
      if (stopped.signal.aborted) return;
      session = open();
      await begun(session);
      hears = await hearsItself();
    }
    if (hears === null || hears === isHearing || stopped.signal.aborted) return;
    isHearing = hears;
    options.onHearing(isHearing);
  }

  async function keepChecking(): Promise<void> {
    while (!stopped.signal.aborted) {
      await check();
      const pauseMs = isHearing ? checkMs : checkMs * DEAF_PAUSES;
      await delay(pauseMs, undefined, { signal: stopped.signal }).catch(ignore);
    }
  }

  void keepChecking();
  return {
    close() {
      stopped.abort();
      return end(session);
    },
  };
}

async function end(session: Sql): Promise<void> {
  await session.end({ timeout: 1 }).catch(ignore);
}

function ignore(): void {}
