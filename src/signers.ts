import { makeSigningKey } from './api/signing-key.ts';
import { createSigner, type Signer } from './dispatch/sign.ts';
import type { Database } from './store/database.ts';
import { ensureSigningKey } from './store/signing-key.ts';

/** How long a project's key is used before it is read again: a rotation is in force after that. */
const KEEP_MS = 60_000;

/** The signer of each project; a project's first key is made when it is first needed. */
export function createSignerDirectory(database: Database): (project: string) => Promise<Signer> {
  const signers = new Map<string, { signer: Promise<Signer>; untilMs: number }>();

  async function load(project: string): Promise<Signer> {
    const key = await database.run((sql) => ensureSigningKey(sql, project, () => makeSigningKey()));
    return createSigner(key);
  }

  return (project) => {
    const known = signers.get(project);
    if (known !== undefined && performance.now() < known.untilMs) return known.signer;
    const signer = load(project);
    signers.set(project, { signer, untilMs: performance.now() + KEEP_MS });
    // A failure is not kept: the next attempt reads again.
    signer.catch(() => signers.delete(project));
    return signer;
  };
}
