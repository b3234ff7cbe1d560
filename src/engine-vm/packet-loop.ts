/**
 * The loop of the data-plane thread: frames from the NICs into the data plane, messages from the main thread, ticks,
 * reports, rest; until it is told to stop. It never returns to the event loop of its thread: nothing here may await.
 *
 * A frame that makes the data plane throw is dropped and counted as `fault`; the loop goes on. It gives up where
 * nothing works any more, so that the main thread can begin afresh.
 */

import type { FirewallLogEntry } from '../policy/answers.ts';
import { isWeftError } from '../policy/errors.ts';
import type { ServiceGraph } from '../policy/graph.ts';
import type { ConnectionReport, PeerObservation } from '../state/shared.ts';
import { Datapath } from './datapath.ts';
import type { DataplaneCounters } from './dataplane/dataplane.ts';
import type { FlowSlots } from './fastpath/flow-slots.ts';
import type { EventFd } from './kernel/event-fd.ts';
import { PacketMemory } from './kernel/packet-memory.ts';
import { NIC_MEMORY } from './kernel/packet-ring.ts';
import { Poll } from './kernel/poll.ts';
import { MAX_QUEUES, xskMemory } from './kernel/xsk.ts';
import type { FastPathPlan } from './link.ts';
import type { FromDataplane, ToDataplane } from './messages.ts';
import { Port } from './port.ts';
import { ThreadCounters } from './thread-counters.ts';
import { UpcallSockets } from './upcall-sockets.ts';

/** What the loop asks of the data plane; dataplane/dataplane.ts says what each means. */
export interface LoopDataplane {
  load(graph: ServiceGraph): void;
  prepare(graph: ServiceGraph): Iterator<void, void>;
  openSlots(): void;
  closeSlots(): void;
  foresee?(buffer: Uint8Array, words: Uint32Array, start: number, length: number): void;
  receive(port: number, buffer: Uint8Array, start: number, length: number): void;
  tick(): void;
  applyConnections(engine: string, report: ConnectionReport | null): void;
  applyHealth(pool: string, members: Record<string, boolean>): void;
  applySession(
    service: string,
    client: string,
    session: { member: string; time: number; engine: string } | null,
  ): void;
  connectionReport(): ConnectionReport;
  connectionsChanged(): boolean;
  peers(): Record<string, PeerObservation>;
  counters(): DataplaneCounters;
  setFloods(services: ReadonlySet<string>): void;
  explain(params: unknown): unknown;
  trace(params: unknown): unknown;
  flows(params: unknown): unknown;
  firewall(params: unknown): unknown;
  takeFirewallLog(): FirewallLogEntry[];
  captureStart(params: unknown): unknown;
  captureFetch(params: unknown): unknown;
  captureStop(params: unknown): unknown;
}

export interface LoopOptions {
  /** Interface names; their indexes are the port numbers. */
  ports: readonly string[];
  /** How the kernel's program is to be attached to the first two; null: not at all. */
  fastPath: FastPathPlan | null;
  /** Signalled by the main thread after it posted a message. */
  wake: EventFd;
  /** The next message of the main thread, or undefined. */
  nextMessage(): ToDataplane | undefined;
  post(message: FromDataplane): void;
  makeDataplane(environment: {
    wire: { send(port: number, buffer: Uint8Array, start: number, length: number): boolean };
    /** Monotonic milliseconds, as of the beginning of the turn. */
    nowMs: () => number;
    wallMs: () => number;
    /** Monotonic milliseconds of this moment. */
    stampMs: () => number;
    onSession: (service: string, client: string, member: string, time: number, timeoutMs: number) => void;
    openSlots: (capacity: number, seed: number) => FlowSlots | null;
  }): LoopDataplane;
}

/** Of each turn, for a graph that is being prepared. */
const PREPARE_MS = 1;
/** Frames from one port before the next port has its turn. */
const BUDGET = 64;
/** The ports that frames may come by AF_XDP from come first. */
const FAST_PORTS = 2;
const SLEEP_MS = 10;
const TICK_MS = 8;
/** Connection counts are reported as often as this for each peer that hears them: few engines know more of each other. */
const CONNECTIONS_MS_PER_PEER = 4;
const MAX_CONNECTIONS_MS = 250;
const COUNTERS_MS = 250;
const PRESENCE_MS = 500;
const FAULT_LOG_MS = 1000;
/** A turn without sleep looks for messages this often: a power of two. */
const BUSY_MESSAGE_TURNS = 64;
/** Messages taken in one turn, so that a flood of them does not stall the frames. */
const MESSAGE_BUDGET = 256;
/** Ticks in a row that throw before the thread gives up: one second. */
const MAX_TICK_FAULTS = 100;
/** Frames in a row that throw, over at least two seconds, before the thread gives up. */
const MAX_FRAME_FAULTS = 1000;
const MAX_FRAME_FAULT_MS = 2000;

export class PacketLoop {
  readonly #options: LoopOptions;
  readonly #memory: PacketMemory;
  readonly #ports: (Port | null)[];
  readonly #poll: Poll;
  readonly #upcalls: UpcallSockets;
  readonly #dataplane: LoopDataplane;
  readonly #datapath: Datapath;
  readonly #counters: ThreadCounters;
  /** Since the last tick: frames taken, and milliseconds of turns without any. */
  #frames = 0;
  #idleMs = 0;
  /** Since the last tick: whether a queue was so long that frames of others had to wait. */
  #isCrowded = false;
  #now = performance.now();
  #heartbeat = 0;
  #isStopped = false;
  /** A graph that is being prepared between frames; other messages wait for it. */
  #coming: { graph: ServiceGraph; steps: Iterator<void, void> } | null = null;
  #hasGraph = false;
  #isReady = false;
  #isNewsUnsaid = true;
  #tickAt = 0;
  #connectionsMs = 0;
  #connectionsAt = 0;
  #countersAt = 0;
  #presenceAt = Number.NEGATIVE_INFINITY;
  #peerText = '';
  #faults = 0;
  #failedFrames = 0;
  #frameFaults = 0;
  #tickFaults = 0;
  #faultLogAt = Number.NEGATIVE_INFINITY;
  #frameFaultsSince = 0;

  constructor(options: LoopOptions) {
    this.#options = options;
    this.#memory = new PacketMemory(options.ports.length * NIC_MEMORY + xskMemory(FAST_PORTS * MAX_QUEUES));
    this.#ports = options.ports.map(() => null);
    const isVirtual = options.fastPath?.best === 'tc';
    this.#upcalls = new UpcallSockets(this.#memory, options.ports.slice(0, FAST_PORTS), isVirtual);
    this.#datapath = new Datapath(options.fastPath, (error) => this.#fault(error));
    this.#counters = new ThreadCounters(options.ports, this.#datapath);
    const sockets = new Array<number>(FAST_PORTS * MAX_QUEUES).fill(-1);
    this.#poll = new Poll([...options.ports.map(() => -1), options.wake.fd, ...sockets]);
    this.#dataplane = options.makeDataplane({
      wire: {
        send: (port, buffer, start, length) => this.#ports[port]?.send(buffer, start, length) ?? false,
      },
      nowMs: () => this.#now,
      wallMs: () => Date.now(),
      stampMs: () => performance.now(),
      onSession: (service, client, member, time, timeoutMs) =>
        options.post({ type: 'session', service, client, member, time, timeoutMs }),
      openSlots: (capacity, seed) => {
        const { slots, isNews } = this.#datapath.openSlots(capacity, seed);
        if (isNews) this.#isNewsUnsaid = true;
        return slots;
      },
    });
    this.#datapath.start();
    this.#datapath.startShares();
  }

  /** Another way than before: ports are opened anew, flows are the data plane's again until it entrusts them. */
  #restartDatapath(): void {
    for (let port = 0; port < this.#ports.length; port++) this.#closePort(port);
    this.#dataplane.closeSlots();
    this.#datapath.remove();
    this.#datapath.start();
    this.#dataplane.openSlots();
    this.#datapath.startShares();
    this.#isNewsUnsaid = true;
    this.#presenceAt = Number.NEGATIVE_INFINITY;
  }

  /** Moves frames until `stop` comes or nothing works any more. Throws only what makes going on pointless. */
  run(): void {
    const wakeIndex = this.#ports.length;
    try {
      // The graph of the last boot first, where there is one: a port that opens before it would pass on untranslated
      // what comes, and copies of traffic would be taken for traffic.
      this.#takeMessages();
      for (let isIdle = true; !this.#isStopped; ) {
        const now = performance.now();
        if (isIdle) this.#idleMs += now - this.#now;
        this.#now = now;
        if (this.#now - this.#presenceAt >= PRESENCE_MS) this.#openPorts();
        let moved = 0;
        for (let port = 0; port < this.#ports.length; port++) moved += this.#receive(port);
        this.#flush();
        this.#heartbeat++;
        this.#frames += moved;
        this.#work();
        if (this.#coming !== null) {
          this.#prepare();
          moved++;
        }
        isIdle = moved === 0;
        const hasSlept = this.#poll.rest(moved, SLEEP_MS);
        if (hasSlept) this.#clearErrors();
        if (hasSlept ? this.#poll.isReady(wakeIndex) : this.#heartbeat % BUSY_MESSAGE_TURNS === 0) {
          this.#takeMessages();
        }
      }
    } finally {
      this.#datapath.close();
      for (const port of this.#ports) port?.close();
      this.#memory.close();
    }
  }

  #receive(port: number): number {
    const opened = this.#ports[port];
    if (opened === null) return 0;
    try {
      const count = opened.receive(this.#dataplane, port, BUDGET);
      if (count > 0) this.#frameFaults = 0;
      if (opened.isCrowded) this.#isCrowded = true;
      return count;
    } catch (error) {
      this.#failedFrames++;
      if (this.#frameFaults++ === 0) this.#frameFaultsSince = this.#now;
      this.#fault(error);
      if (this.#frameFaults > MAX_FRAME_FAULTS && this.#now - this.#frameFaultsSince > MAX_FRAME_FAULT_MS) {
        this.#giveUp(`${this.#frameFaults} frames in a row could not be processed`, error);
      }
      return 1;
    }
  }

  #flush(): void {
    for (const port of this.#ports) port?.flush();
  }

  /** What is due by the clock. */
  #work(): void {
    const now = this.#now;
    if (now - this.#tickAt >= TICK_MS) {
      this.#tickAt = now;
      try {
        this.#datapath.program?.tick(now);
        this.#datapath.shares.tick(now, this.#frames, this.#idleMs, this.#isCrowded);
        this.#frames = 0;
        this.#idleMs = 0;
        this.#isCrowded = false;
        this.#dataplane.tick();
        this.#tickFaults = 0;
      } catch (error) {
        this.#fault(error);
        if (++this.#tickFaults > MAX_TICK_FAULTS)
          this.#giveUp('the clockwork of the data plane fails', error);
      }
      this.#flush();
    }
    if (now - this.#connectionsAt >= this.#connectionsMs) {
      this.#connectionsAt = now;
      this.#attempt(() => this.#reportConnections());
    }
    if (now - this.#countersAt >= COUNTERS_MS) {
      this.#countersAt = now;
      this.#attempt(() => this.#reportCounters());
    }
  }

  #reportConnections(): void {
    if (this.#dataplane.connectionsChanged()) {
      this.#options.post({ type: 'connections', report: this.#dataplane.connectionReport() });
    }
    const peers = this.#dataplane.peers();
    let text = '';
    for (const id in peers) text += `${id} ${peers[id].isAlive} ${peers[id].isInsideAlive};`;
    if (text === this.#peerText) return;
    this.#peerText = text;
    this.#options.post({ type: 'peers', peers });
  }

  #reportCounters(): void {
    const dataplane = this.#dataplane;
    const message = this.#counters.message(dataplane.counters(), this.#ports, this.#now, this.#failedFrames);
    dataplane.setFloods(this.#counters.flooded());
    this.#datapath.answerSyns(this.#counters.flooded());
    const firewallLog = dataplane.takeFirewallLog();
    this.#options.post({ ...message, heartbeat: this.#heartbeat, firewallLog });
    this.#options.post({ type: 'peers', peers: dataplane.peers() });
  }

  #takeMessages(): void {
    this.#options.wake.drain();
    for (let count = 0; count < MESSAGE_BUDGET && this.#coming === null; count++) {
      const message = this.#options.nextMessage();
      if (message === undefined) return;
      this.#attempt(() => this.#obey(message));
    }
    // There may be more: look again after the next turn.
    this.#options.wake.signal();
  }

  #obey(message: ToDataplane): void {
    const dataplane = this.#dataplane;
    switch (message.type) {
      case 'graph':
        // Before the first one no frame is moved that could wait.
        if (this.#hasGraph) this.#coming = { graph: message.graph, steps: dataplane.prepare(message.graph) };
        else this.#load(message.graph);
        break;
      case 'connections':
        dataplane.applyConnections(message.engine, message.report);
        break;
      case 'health':
        dataplane.applyHealth(message.pool, message.members);
        break;
      case 'session':
        dataplane.applySession(message.service, message.client, message.session);
        break;
      case 'request':
        this.#answer(message);
        break;
      case 'stop':
        this.#isStopped = true;
        break;
    }
  }

  /** Goes on with the graph that comes, for a moment. */
  #prepare(): void {
    if (this.#coming === null) return;
    const { graph, steps } = this.#coming;
    const end = performance.now() + PREPARE_MS;
    try {
      while (performance.now() < end) {
        if (steps.next().done !== true) continue;
        this.#coming = null;
        this.#load(graph);
        break;
      }
    } catch (error) {
      this.#coming = null;
      this.#options.post({ type: 'graph-applied', revision: graph.revision, error: messageOf(error) });
    }
    // What came meanwhile.
    if (this.#coming === null) this.#options.wake.signal();
  }

  #load(graph: ServiceGraph): void {
    let error: string | null = null;
    try {
      this.#dataplane.load(graph);
      this.#hasGraph = true;
      if (this.#datapath.heed(graph)) this.#restartDatapath();
      this.#datapath.load(graph);
      this.#connectionsMs = Math.min(CONNECTIONS_MS_PER_PEER * graph.peers.length, MAX_CONNECTIONS_MS);
    } catch (cause) {
      error = messageOf(cause);
    }
    this.#options.post({ type: 'graph-applied', revision: graph.revision, error });
  }

  #answer({ id, method, params }: Extract<ToDataplane, { type: 'request' }>): void {
    try {
      this.#options.post({ type: 'reply', id, result: this.#dataplane[method](params) });
    } catch (error) {
      const code = isWeftError(error) ? error.code : 'ERR_INTERNAL';
      this.#options.post({ type: 'reply', id, error: { code, message: messageOf(error) } });
    }
  }

  /** Opens ports that are not open, lets go of those whose interface is gone, and says when that changes anything. */
  #openPorts(): void {
    this.#presenceAt = this.#now;
    let problem: string | null = null;
    for (const [port, name] of this.#options.ports.entries()) {
      if (this.#ports[port]?.nic.isPresent()) continue;
      this.#closePort(port);
      try {
        const opened = new Port(name, this.#memory, this.#datapath.upOf(port)?.up);
        this.#ports[port] = opened;
        this.#poll.replace(port, opened.nic.fd);
      } catch (error) {
        problem ??= messageOf(error);
        continue;
      }
      if (!this.#datapath.attach(port, name, this.#ports[port]!.nic.fd)) {
        this.#restartDatapath();
        this.#openPorts();
        return;
      }
      if (port < FAST_PORTS) this.#upcalls.reset(port);
    }
    const isReady = problem === null;
    // The packet rings take frames already; the sockets, which take longer to open, come after it.
    if (isReady) this.#datapath.program?.release();
    for (let port = 0; port < FAST_PORTS; port++) this.#openSockets(port);
    if (isReady === this.#isReady && !this.#isNewsUnsaid) return;
    this.#isReady = isReady;
    this.#isNewsUnsaid = false;
    const fds = [
      ...this.#ports.flatMap((port) =>
        port === null ? [] : [port.nic.fd, ...port.sockets.map(({ fd }) => fd)],
      ),
      ...(this.#datapath.program?.fds() ?? []),
    ];
    this.#options.post(
      problem === null
        ? { type: 'ready', datapath: this.#datapathText(), fds }
        : { type: 'unready', message: problem },
    );
  }

  #datapathText(): string {
    const { program, text } = this.#datapath;
    return program?.kind === 'xdp' ? `${text}, which come ${this.#upcalls.text}` : text;
  }

  #closePort(port: number): void {
    const opened = this.#ports[port];
    if (opened === null) return;
    this.#counters.keep(port, opened);
    this.#datapath.program?.detach(port);
    if (port < FAST_PORTS) {
      this.#datapath.program?.forgetSockets(port);
      for (let queue = 0; queue < MAX_QUEUES; queue++) this.#poll.replace(this.#socketPlace(port, queue), -1);
    }
    opened.close();
    this.#ports[port] = null;
    this.#poll.replace(port, -1);
  }

  /** Frames for TypeScript by AF_XDP, where the XDP program hands them up. */
  #openSockets(index: number): void {
    const port = this.#ports[index];
    const { program } = this.#datapath;
    if (program?.kind !== 'xdp' || index >= FAST_PORTS || port === null) return;
    if (!this.#upcalls.open(index, port, program)) return;
    this.#isNewsUnsaid = true;
    for (const { queue, fd } of port.sockets) this.#poll.replace(this.#socketPlace(index, queue), fd);
  }

  #socketPlace(port: number, queue: number): number {
    return this.#options.ports.length + 1 + port * MAX_QUEUES + queue;
  }

  #clearErrors(): void {
    for (let port = 0; port < this.#ports.length; port++) {
      let hasError = this.#poll.hasError(port);
      if (port < FAST_PORTS) {
        for (let queue = 0; queue < MAX_QUEUES; queue++) {
          hasError ||= this.#poll.hasError(this.#socketPlace(port, queue));
        }
      }
      if (hasError) this.#ports[port]?.clearError();
    }
  }

  /** For what is not on the way of a frame. */
  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#fault(error);
    }
  }

  #fault(error: unknown): void {
    this.#faults++;
    if (this.#now - this.#faultLogAt < FAULT_LOG_MS) return;
    this.#faultLogAt = this.#now;
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#options.post({ type: 'fault', message: stack, count: this.#faults });
  }

  #giveUp(what: string, error: unknown): void {
    this.#isStopped = true;
    this.#options.post({ type: 'failed', message: `${what}: ${messageOf(error)}` });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
