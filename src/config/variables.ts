import type { Environment } from '../config.ts';

/** Read by a worker's library, and harmless here: one `.env` file may serve both. */
const OF_OTHERS = ['ERRAND_ISSUER', 'ERRAND_WORKER_URL', 'ERRAND_URL', 'ERRAND_API_KEY'];

/**
 * What Kubernetes sets in every pod beside a Service named `errand` or `errand-…`. It also sets
 * ERRAND_PORT, to a tcp:// URL; one set in the pod's own manifest goes before it.
 */
const SERVICE_LINK =
  /^ERRAND_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)$/;
const SERVICE_LINK_VALUE = /^(tcp|udp|sctp):\/\//;

const MOST_EDITS = 4;

/** The variables that somebody set on purpose: not the empty ones, nor a cluster's service links. */
export function variablesOf(env: Environment): Environment {
  return Object.fromEntries(
    Object.entries(env).filter(
      ([name, value = '']) =>
        value.trim() !== '' &&
        !(name.startsWith('ERRAND_') && SERVICE_LINK_VALUE.test(value)) &&
        !SERVICE_LINK.test(name),
    ),
  );
}

/** A line for each ERRAND_ variable that is not in `known`, with the name that was probably meant. */
export function explainUnknown(env: Environment, known: readonly string[]): string[] {
  return Object.keys(variablesOf(env))
    .filter((name) => /^errand_/i.test(name) && !known.includes(name) && !OF_OTHERS.includes(name))
    .map((name) => {
      const meant = findNearest(name, known);
      const hint = meant ? `did you mean ${meant}?` : '`errand serve --help` lists them';
      return `${name} is not a setting of errand: ${hint}`;
    });
}

function findNearest(name: string, known: readonly string[]): string | null {
  const [nearest] = known
    .map((candidate) => ({ candidate, edits: countEdits(name.toUpperCase(), candidate) }))
    .sort((left, right) => left.edits - right.edits);
  return nearest && nearest.edits <= MOST_EDITS ? nearest.candidate : null;
}

/** Levenshtein's distance, row by row. */
function countEdits(from: string, to: string): number {
  let above = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [row, letter] of [...from].entries()) {
    const current = [row + 1];
    for (const [column, other] of [...to].entries()) {
      const replaced = above[column]! + (letter === other ? 0 : 1);
      current.push(Math.min(replaced, above[column + 1]! + 1, current[column]! + 1));
    }
    above = current;
  }
  return above[to.length]!;
}
