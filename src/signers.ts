import { makeSigningKey } from './api/signing-key.ts';
import { createSigner, type Signer } from './dispatch/sign.ts';
import type { SigningThread } from './dispatch/signing-thread.ts';
import type { Database } from './store/database.ts';
import { isDatabaseAway } from './store/errors.ts';
import { activeKids, ensureSigningKey } from './store/signing-key.ts';
import { createVault, type Vault } from './store/vault.ts';

/** From this age on it is asked, behind the back of whoever signs, whether a key still is the one. */
const CHECK_AFTER_MS = 500;
/** From this age on nothing is signed before that is known: a key that was revoked signs no longer. */
const TRUST_MS = 1_000;

interface KnownSigner {
  kid: string;
  signer: Signer;
  checkedAtMs: number;
}

/**
 * The signer of each project; a project's first key is made when it is first needed. All the projects
 * that are signed for are asked about in one statement, once in half a second at most.
 */
export function createSignerDirectory(
  database: Database,
  thread: Pick<SigningThread, 'sign'>,
  vault: Vault = createVault([]),
): (project: string) => Signer | Promise<Signer> {
  const known = new Map<string, KnownSigner>();
  const loading = new Map<string, Promise<Signer>>();
  const used = new Set<string>();
  let checking: Promise<void> | null = null;

  async function load(project: string): Promise<Signer> {
    const checkedAtMs = performance.now();
    const make = () => makeSigningKey('ES256', vault);
    const key = await database.run((sql) => ensureSigningKey(sql, project, make));
    const signer = createSigner(key, thread, vault);
    known.set(project, { kid: key.kid, signer, checkedAtMs });
    return signer;
  }

  /** A failure is not kept: the next attempt reads again. */
  function loadOnce(project: string): Promise<Signer> {
    let signer = loading.get(project);
    if (signer === undefined) {
      signer = load(project).finally(() => loading.delete(project));
      loading.set(project, signer);
    }
    return signer;
  }

  async function check(): Promise<void> {
    const checkedAtMs = performance.now();
    const projects = [...used];
    used.clear();
    const kids = await database.run((sql) => activeKids(sql, projects));
    for (const project of projects) {
      const entry = known.get(project);
      if (entry?.kid === kids.get(project)) entry!.checkedAtMs = checkedAtMs;
      else await loadOnce(project);
    }
  }

  /** Of a database that is away nobody hears of a revocation, and soon nothing is claimed either. */
  function checkOnce(): Promise<void> {
    checking ??= check()
      .catch((error) => {
        if (!isDatabaseAway(error)) throw error;
      })
      .finally(() => {
        checking = null;
      });
    return checking;
  }

  async function afterCheck(project: string): Promise<Signer> {
    await checkOnce();
    // It came too late for the one that was under way.
    if (used.has(project)) await checkOnce();
    return known.get(project)!.signer;
  }

  return (project) => {
    const entry = known.get(project);
    if (entry === undefined) return loadOnce(project);
    const ageMs = performance.now() - entry.checkedAtMs;
    if (ageMs < CHECK_AFTER_MS) return entry.signer;
    used.add(project);
    const checked = checkOnce();
    if (ageMs >= TRUST_MS) return afterCheck(project);
    // What went wrong is told to whoever waits for the next.
    checked.catch(() => undefined);
    return entry.signer;
  };
}
