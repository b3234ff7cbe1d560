/**
 * One part of bench/l4.ts, in a network namespace of its own:
 *   generate NIC MAC ADDRESS FLOWS RANDOM   sends until it is ended; line by line the number of packets sent
 *   sink KIND NIC                           counts what arrives, on request
 *   redirect FROM TO                        forwards without a look
 *   probe NIC MAC OWN-MAC FROM TO NEW?      round trips of UDP packets, one line of JSON with percentiles
 */
import { createInterface } from 'node:readline';
import { libc } from '../../src/engine-vm/kernel/libc.ts';
import { Nic } from '../../src/engine-vm/kernel/packet-ring.ts';
import { HEADROOM } from '../../src/packet/packet.ts';
import { frame } from '../../test/packet/frames.ts';
import { loadTraffic, sumOf } from './kernel-programs.ts';

/** Packets a call: each call waits for all processors, milliseconds in which nothing is sent. Signals end it at once. */
const BATCH = 2 ** 30;
const LONGEST_PROBE_MS = 5000;
const [part, ...args] = process.argv.slice(2) as [string, ...string[]];

switch (part) {
  case 'generate':
    generate();
    break;
  case 'sink': {
    const [kind, nic] = args as [string, string];
    const sink = loadTraffic(kind);
    sink.attach(nic);
    console.log('ready');
    for await (const _ of createInterface({ input: process.stdin })) console.log(sink.packets());
    break;
  }
  case 'redirect': {
    const [from, to] = args as [string, string];
    const redirect = loadTraffic('redirect');
    redirect.words[0] = libc.if_nametoindex(to);
    redirect.attach(from);
    console.log('ready');
    for await (const _ of createInterface({ input: process.stdin }));
    break;
  }
  case 'probe':
    probe();
    break;
}

function generate(): void {
  const [nic, mac, address, flows, random] = args as [string, string, string, string, string];
  const template = frame({
    protocol: 'udp',
    from: '0.0.0.0',
    to: address,
    fromMac: '02:cc:00:00:00:01',
    toMac: mac,
    sport: 0,
    dport: 9000,
    payload: new Uint8Array(22),
  }).subarray(HEADROOM);
  const bytes = Uint8Array.from(template);
  const program = loadTraffic('generate');
  const ip = bytes.slice(14, 34);
  ip.fill(0, 10, 12);
  const udp = bytes.slice(34);
  udp.fill(0, 6, 8);
  const pseudo = Uint8Array.from([...bytes.slice(26, 34), 0, 17, ...bytes.slice(38, 40)]);
  program.words[0] = libc.if_nametoindex(nic);
  program.words[1] = Number(flows);
  program.words[2] = Number(random);
  program.words[6] = sumOf(udp) + sumOf(pseudo);
  program.words[7] = sumOf(ip);
  program.head.set(bytes.subarray(0, program.head.length));
  console.log('ready');
  for (;;) program.run(bytes, BATCH);
}

function probe(): void {
  const [name, mac, own, from, to, isNew] = args as [string, string, string, string, string, string];
  const nic = new Nic(name);
  const rounds = 20_000;
  const times = new Float64Array(rounds);
  let answered = false;
  const handler = {
    receive(_port: number, buffer: Uint8Array, start: number, length: number): void {
      if (length >= 42 && buffer[start + 12] === 8 && buffer[start + 23] === 17) answered = true;
    },
  };
  let lost = 0;
  const frames = Array.from({ length: isNew === 'new' ? rounds : 1 }, (_, index) =>
    frame({
      protocol: 'udp',
      from,
      to,
      fromMac: own,
      toMac: mac,
      sport: 2000 + (index % 60_000),
      dport: 9000,
      payload: new Uint8Array(22),
    }),
  );
  let count = 0;
  const end = performance.now() + LONGEST_PROBE_MS;
  for (let round = 0; round < rounds && performance.now() < end; round++) {
    const bytes = frames[round % frames.length]!;
    answered = false;
    const before = performance.now();
    nic.send(bytes, HEADROOM, bytes.length - HEADROOM);
    nic.flush();
    while (!answered && performance.now() - before < 50) nic.receive(handler, 0, 64);
    if (answered) times[count++] = (performance.now() - before) * 1000;
    else lost++;
  }
  const sorted = times.slice(0, count).sort();
  console.log(
    JSON.stringify({
      p50Us: sorted[count >> 1],
      p99Us: sorted[Math.floor(count * 0.99)],
      rounds: count,
      lost,
    }),
  );
  nic.close();
}
