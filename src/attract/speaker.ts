/**
 * Keeps BIRD running with the configuration in force. BIRD is a process of its own that outlives this one: what it says
 * goes through the data plane, so that routers hear nothing of an engine whose data plane is dead, whatever BIRD thinks.
 * An upgrade of the engine, which is over before a router misses anything, finds it running and goes on with it.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { birdConfig } from './bird-config.ts';
import { readSessions } from './bird-status.ts';
import type { Speech } from './speech.ts';

const LOOK_MS = 1000;
const ASK_MS = 1000;
/** The appliance starts the engine with whatever path its init has. */
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin:/usr/local/sbin`;

/** How the sessions are: as `BgpReport` of the shared state. */
export interface SpeakerReport {
  sessions: Record<string, string>;
  addresses: string[];
  problem: string | null;
}

export interface SpeakerOptions {
  /** For the configuration, the control socket and the pid; made where it is missing. */
  directory: string;
  /** Called when something has changed; null when nothing is said any more. */
  onReport: (report: SpeakerReport | null) => void;
  /** What BIRD writes, line by line. */
  onLine: (line: string) => void;
}

export class BgpSpeaker {
  readonly #options: SpeakerOptions;
  readonly #config: string;
  readonly #socket: string;
  readonly #pidFile: string;
  #speech: Speech | null = null;
  #text = '';
  #said = '';
  #problem: string | null = null;
  #isStarting = false;
  #look: NodeJS.Timeout | undefined;

  constructor(options: SpeakerOptions) {
    this.#options = options;
    this.#config = join(options.directory, 'bird.conf');
    this.#socket = join(options.directory, 'bird.ctl');
    this.#pidFile = join(options.directory, 'bird.pid');
  }

  /** Says this from now on; null: nothing, and BIRD ends. */
  say(speech: Speech | null): void {
    this.#speech = speech;
    if (speech === null) {
      this.#end();
      return;
    }
    const text = birdConfig(speech);
    if (text !== this.#text) {
      this.#text = text;
      mkdirSync(this.#options.directory, { recursive: true, mode: 0o700 });
      writeFileSync(this.#config, text, { mode: 0o600 });
      const pid = this.#runningPid();
      if (pid !== null) process.kill(pid, 'SIGHUP');
    }
    this.#look ??= setInterval(() => void this.#check(), LOOK_MS);
    void this.#check();
  }

  /** The engine's process ends. Unless another takes its place, so does BIRD: routers hear it at once. */
  stop(): void {
    if (this.#isReplaced()) {
      clearInterval(this.#look);
      this.#look = undefined;
    } else this.#end();
  }

  #end(): void {
    clearInterval(this.#look);
    this.#look = undefined;
    this.#text = '';
    const pid = this.#runningPid();
    if (pid !== null) process.kill(pid, 'SIGTERM');
    rmSync(this.#pidFile, { force: true });
    if (this.#said !== '') this.#options.onReport(null);
    this.#said = '';
  }

  async #check(): Promise<void> {
    const speech = this.#speech;
    if (speech === null || this.#look === undefined) return;
    if (this.#runningPid() === null && !this.#isStarting) this.#start();
    const routers = speech.sessions.map(({ router }) => router);
    let sessions: Record<string, string> = {};
    try {
      const args = ['-r', '-s', this.#socket, 'show', 'protocols'];
      const env = { ...process.env, PATH };
      const { stdout } = await promisify(execFile)('birdc', args, { timeout: ASK_MS, env });
      sessions = readSessions(stdout, routers);
      this.#problem = null;
    } catch {
      // It has not begun to listen, or there is none: then `start` has said so.
    }
    if (this.#speech !== speech || this.#look === undefined) return;
    for (const router of routers) sessions[router] ??= 'BIRD does not answer';
    const problem =
      routers.length > 0
        ? this.#problem
        : 'no router of bgp.peers has the family of an address of this engine';
    const report: SpeakerReport = { sessions, addresses: speech.addresses, problem };
    const said = JSON.stringify(report);
    if (said === this.#said) return;
    this.#said = said;
    this.#options.onReport(report);
  }

  #start(): void {
    this.#isStarting = true;
    const args = ['-f', '-c', this.#config, '-s', this.#socket, '-P', this.#pidFile];
    const child = spawn('bird', args, {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, PATH },
    });
    let last = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n')) {
        if (line.trim() === '') continue;
        last = line.trim();
        this.#options.onLine(last);
      }
    });
    child.once('error', (error: NodeJS.ErrnoException) => {
      this.#isStarting = false;
      this.#problem =
        error.code === 'ENOENT'
          ? 'BGP is not spoken: BIRD is not installed on the engine (package bird2)'
          : `BGP is not spoken: ${error.message}`;
    });
    child.once('exit', (code, signal) => {
      this.#isStarting = false;
      if (this.#look !== undefined) this.#problem = `BIRD ended (${signal ?? code}): ${last}`;
    });
    child.once('spawn', () => {
      if (child.pid !== undefined) writeFileSync(this.#pidFile, `${child.pid}\n`);
      this.#isStarting = false;
    });
    // Neither the process nor its pipe keeps this one from ending.
    child.unref();
    (child.stderr as unknown as { unref(): void }).unref();
  }

  /** BIRD of this directory, whoever started it; null where none runs. */
  #runningPid(): number | null {
    try {
      const pid = Number(readFileSync(this.#pidFile, 'utf8'));
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return words.includes(this.#config) && !isZombie(pid) ? pid : null;
    } catch {
      return null;
    }
  }

  #isReplaced(): boolean {
    try {
      const pid = Number(readFileSync(takeoverFile(this.#options.directory), 'utf8'));
      return pid !== process.pid && !isZombie(pid);
    } catch {
      return false;
    }
  }
}

/** Tells the process whose place this one takes to leave BIRD to it. */
export function announceTakeover(directory: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  writeFileSync(takeoverFile(directory), `${process.pid}\n`);
}

/** The takeover is done. */
export function endTakeover(directory: string): void {
  rmSync(takeoverFile(directory), { force: true });
}

function takeoverFile(directory: string): string {
  return join(directory, 'taken-over-by');
}

/** Throws where there is no such process. */
function isZombie(pid: number): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.charAt(stat.lastIndexOf(')') + 2) === 'Z';
}
