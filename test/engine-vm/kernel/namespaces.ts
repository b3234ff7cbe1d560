/**
 * Network namespaces for tests: made with a name of this run, removed with everything in them, also where the run is
 * interrupted. Needs root.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { noteLab } from '../../leftovers.ts';

let made = 0;
/** Not closed yet. */
const open = new Set<Namespaces>();

process.once('exit', () => {
  for (const spaces of open) spaces.abandon();
});
// These would end the process without a word.
for (const [name, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.once(name, () => process.exit(code));
}

export class Namespaces {
  readonly #names: string[] = [];
  readonly #children: ChildProcess[] = [];

  /** Makes a namespace with its loopback up; returns its name. */
  add(role: string): string {
    noteLab(`t${process.pid}`);
    const name = `weft-t${process.pid}-${++made}-${role}`;
    open.add(this);
    this.#names.push(name);
    execFileSync('ip', ['netns', 'add', name]);
    this.ip(name, 'link set lo up');
    return name;
  }

  /** `ip` inside a namespace; throws with what it said. */
  ip(name: string, command: string): string {
    return execFileSync('ip', ['-n', name, ...command.split(' ')], { encoding: 'utf8', stdio: 'pipe' });
  }

  /** A veth pair from one namespace to another, both ends up, with so many queues each way. */
  link(from: string, fromName: string, to: string, toName: string, queues = 1): void {
    const many = queues > 1 ? `numtxqueues ${queues} numrxqueues ${queues} ` : '';
    this.ip(from, `link add ${fromName} ${many}type veth peer name ${toName} ${many}netns ${to}`);
    this.ip(from, `link set ${fromName} up`);
    this.ip(to, `link set ${toName} up`);
  }

  /** Writes a sysctl of a namespace, for example `net/ipv6/conf/eth0/accept_dad`. */
  sysctl(name: string, key: string, value: string | number): void {
    this.run(name, 'sh', ['-c', `echo ${value} > /proc/sys/${key}`]);
  }

  /** Lets processes send by one queue of an interface alone. */
  sendBy(name: string, nic: string, queue: number): void {
    const cpus = 'for q in /sys/class/net/$0/queues/tx-*; do echo 0 > $q/xps_cpus; done';
    const all = 'tr -d , < /sys/devices/system/cpu/possible | sed "s/.*-//"';
    const script = `${cpus}; printf %x $(((2 << $(${all})) - 1)) > /sys/class/net/$0/queues/tx-$1/xps_cpus`;
    execFileSync('ip', ['netns', 'exec', name, 'sh', '-c', script, nic, String(queue)], { stdio: 'pipe' });
  }

  /** Runs a program to its end inside a namespace; returns its output. */
  run(name: string, program: string, args: string[]): string {
    return execFileSync('nsenter', [`--net=/run/netns/${name}`, program, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Starts a TypeScript program inside a namespace; it is ended by `close`. */
  start(name: string, program: string, args: string[], stderr: 'inherit' | 'pipe' = 'inherit'): ChildProcess {
    const child = spawn(
      'nsenter',
      [
        `--net=/run/netns/${name}`,
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        program,
        ...args,
      ],
      { stdio: ['pipe', 'pipe', stderr] },
    );
    this.#children.push(child);
    return child;
  }

  async close(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    this.#remove();
  }

  /** As `close`, for when there is no time to wait for the children. */
  abandon(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    this.#remove();
  }

  #remove(): void {
    for (const name of this.#names.splice(0)) {
      try {
        execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
      } catch {
        // It was never made: the test failed before.
      }
    }
    open.delete(this);
  }
}

/** Resolves with the first line of a child's output that `accept` takes; rejects when the child ends before. */
export function line(child: ChildProcess, accept: (line: string) => boolean = () => true): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (data: Buffer): void => {
      text += data.toString();
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const one = text.slice(0, end);
        text = text.slice(end + 1);
        if (!accept(one)) continue;
        child.stdout!.off('data', onData);
        child.off('exit', onExit);
        resolve(one);
        return;
      }
    };
    const onExit = (code: number | null): void => reject(new Error(`the program ended with ${code}`));
    child.stdout!.on('data', onData);
    child.once('exit', onExit);
  });
}
