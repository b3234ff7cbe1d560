/** A worker thread of the proxy: one ProxyLoop, driven by messages of the main thread (proxy-workers.ts). */
import { writeSync } from 'node:fs';
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { LoopKind } from '../kernel/socket-loop.ts';
import { ProxyLoop } from './proxy-loop.ts';
import type { ServiceSettings } from './service.ts';

/** What the main thread gives a worker. */
export interface ProxyThreadData {
  readonly settings: ServiceSettings;
  readonly port: MessagePort;
  readonly wakeFd: number;
  readonly loop?: LoopKind;
  /** The file that lines are written to, or `message`: the main thread writes them. */
  readonly log?: number | 'message';
  readonly logEvery?: number;
  /** As of `ProxyOptions`. */
  readonly listeners?: ReadonlyMap<string, readonly number[]>;
}

/** What it says to a worker; the worker answers each by a message of the same `id`. */
export type ProxyCommand =
  | { readonly id: number; readonly type: 'reload'; readonly settings: ServiceSettings }
  | { readonly id: number; readonly type: 'drain'; readonly withinMs: number; readonly waitsForIdle: boolean }
  | { readonly id: number; readonly type: 'figures'; readonly names: boolean };

/** `id` 0: the worker is ready, or cannot be. `log`: lines for the main thread to write. */
export type ProxyAnswer =
  | { readonly id: number; readonly error?: string; readonly figures?: unknown; readonly loop?: LoopKind }
  | { readonly log: Uint8Array };

const { settings, port, wakeFd, loop, log, logEvery, listeners } = workerData as ProxyThreadData;

const answer = (message: ProxyAnswer): void => port.postMessage(message);

function give(proxy: () => ProxyLoop | null): ((piece: Uint8Array) => void) | undefined {
  if (log === undefined) return undefined;
  if (log === 'message') return (piece) => answer({ log: piece.slice() });
  return (piece) => {
    try {
      writeSync(log, piece);
    } catch {
      // A full disk must not end the proxy; what is lost is counted.
      const running = proxy();
      if (running !== null) running.figures.logBytesLost += piece.length;
    }
  };
}

let proxy: ProxyLoop | null = null;
try {
  const write = give(() => proxy);
  proxy = new ProxyLoop({
    settings,
    wakeFd,
    ...(loop === undefined ? {} : { loop }),
    ...(write === undefined ? {} : { log: write }),
    ...(logEvery === undefined ? {} : { logEvery }),
    ...(listeners === undefined ? {} : { listeners }),
  });
} catch (error) {
  answer({ id: 0, error: (error as Error).message });
}

if (proxy !== null) {
  const running = proxy;
  running.onWake = () => {
    for (;;) {
      const received = receiveMessageOnPort(port);
      if (received === undefined) return;
      const command = received.message as ProxyCommand;
      try {
        if (command.type === 'reload') running.reload(command.settings);
        else if (command.type === 'drain') running.drain(command.withinMs, command.waitsForIdle);
        else if (command.names) running.figures.look(running.nowMs);
        answer({ id: command.id, figures: running.report() });
      } catch (error) {
        answer({ id: command.id, error: (error as Error).message });
      }
    }
  };
  answer({ id: 0, loop: running.loopKind });
  running.run();
  answer({ id: -1, figures: running.report() });
}
port.close();
