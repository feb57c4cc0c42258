import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { type Account, asAccount } from './account.ts';

/**
 * Waits on standard input, whose other end only our process holds. The word `done` means that the
 * server has ended; end of file means that we are gone, however that came: then it stops the server
 * ($2), as long as the postmaster.pid of its directory ($1) names it.
 */
const SCRIPT = `
runs() { [ "$(head -n 1 "$1/postmaster.pid")" = "$2" ]; }
read -r word
[ "$word" = done ] && exit
runs "$@" && kill -INT "$2"
tenths=0
while runs "$@" && [ $tenths -lt 100 ]; do sleep 0.1; tenths=$((tenths + 1)); done
runs "$@" && kill -QUIT "$2"
`;

export interface Watcher {
  /** Sends it home once the server has ended; resolves when it is gone. */
  dismiss(): Promise<void>;
}

/** Starts a small process that stops the server when ours has ended, even by SIGKILL. */
export function watchServer(pid: number, directory: string, account: Account | null): Watcher {
  const watcher = spawn('/bin/sh', ['-c', SCRIPT, 'errand-watcher', directory, String(pid)], {
    ...asAccount(account),
    cwd: '/',
    detached: true, // A session of its own: Ctrl-C in our terminal must not reach it.
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const gone = new Promise<void>((resolve) => {
    watcher.once('error', () => resolve());
    watcher.once('exit', () => resolve());
  });
  watcher.stdin.on('error', () => {}); // Somebody ended it; there is nobody to dismiss.
  watcher.unref();
  (watcher.stdin as Socket).unref();
  return {
    async dismiss() {
      watcher.ref();
      watcher.stdin.end('done\n');
      await gone;
    },
  };
}
