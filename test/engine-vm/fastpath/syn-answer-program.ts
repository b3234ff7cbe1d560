/**
 * For the test of SYNs that the XDP program answers: gives it random SYNs to a service whose share is used up, and the same
 * to a data plane, whose answers must be the same to the byte. `syn-answer-program.ts COUNT SEED` in a namespace with the
 * interfaces out and in; prints one JSON line.
 */
import { Dataplane, PORT_OUT } from '../../../src/engine-vm/dataplane/dataplane.ts';
import { FastPath } from '../../../src/engine-vm/fastpath/fast-path.ts';
import { SynAnswers } from '../../../src/engine-vm/fastpath/syn-answers.ts';
import { UpcallShares } from '../../../src/engine-vm/fastpath/upcall-shares.ts';
import { libc } from '../../../src/engine-vm/kernel/libc.ts';
import { HEADROOM } from '../../../src/packet/packet.ts';
import { type FrameSpec, frame } from '../../packet/frames.ts';
import { seededRandom } from '../../random.ts';
import { BALANCER, engineMac, graphFor, memberMac, VIP, VIP6 } from '../dataplane/network.ts';
import { type TestRun, testRun } from './test-run.ts';

const [count, seed] = process.argv.slice(2).map(Number) as [number, number];
const [DROP, TX] = [1, 3];
const CONFIG_SHARE = 16;
const PERIOD_MS = 64_000;

const random = seededRandom(seed);
const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;

let wallMs = 1_700_000_000_000;
let answer: string | null = null;
const dataplane = new Dataplane({
  wire: {
    send(_port, buffer, start, length) {
      answer = Buffer.from(buffer.subarray(start, start + length)).toString('hex');
      return true;
    },
  },
  nowMs: () => 1000,
  wallMs: () => wallMs,
  onSession: () => {},
});
const graph = graphFor('A', { components: [BALANCER] });
for (const service of graph.services) if (service.protocol === 'tcp') service.synCookies = 'always';
dataplane.load(graph);

const fast = new FastPath('xdp');
for (const [port, name] of ['out', 'in'].entries()) fast.attach(port, name, null);
const shares = new UpcallShares();
shares.use(fast.shares);
shares.load(graph);
const config = new Int32Array(fast.shares.config);
// One packet of each service in four milliseconds goes up.
config[CONFIG_SHARE] = 1;
const answers = new SynAnswers();
answers.load(graph);

const outIndex = libc.if_nametoindex('out');
function run(bytes: Uint8Array): TestRun {
  const context = new Uint8Array(24);
  new DataView(context.buffer).setUint32(4, bytes.length, true);
  new DataView(context.buffer).setUint32(12, outIndex, true);
  return testRun(fast.programOf(0).fd, bytes, context);
}

const SIZES = [0, 80, 500, 536, 900, 966, 1219, 1220, 1300, 1439, 1440, 1460, 8960];
/** What is not to be answered: not a SYN, not to the engine's MAC, nothing that is for the service. */
const UNANSWERED: readonly Partial<FrameSpec>[] = [
  { flags: 'A' },
  { flags: 'SA' },
  { flags: 'SF' },
  { toMac: memberMac('a1') },
  { options: new Uint8Array(4).fill(1) },
  { tcpOptions: [1, 1, 1, 1] },
  { fragment: { id: 7, offset: 0, hasMore: true } },
];

let answered = 0;
let dropped = 0;
let wrong: object | null = null;
for (let n = 0; n < count && wrong === null; n++) {
  if (n % 100 === 0) {
    wallMs += PERIOD_MS;
    answers.tick(config, wallMs);
    shares.answer(answers.order(new Set()));
  }
  const isIpv6 = random() < 0.4;
  const size = pick(SIZES);
  const isUnanswered = random() < 0.1;
  const spec: FrameSpec = {
    protocol: 'tcp',
    from: isIpv6
      ? `fd00::${Math.floor(random() * 65_535).toString(16)}`
      : `10.${pick([0, 64, 200])}.3.${1 + Math.floor(random() * 250)}`,
    to: isIpv6 ? VIP6 : VIP,
    fromMac: '02:cc:00:00:00:01',
    toMac: engineMac('A'),
    sport: 1024 + Math.floor(random() * 60_000),
    dport: 8080,
    flags: 'S',
    seq: Math.floor(random() * 2 ** 32),
    payload: new Uint8Array(random() < 0.1 ? 33 : 0),
    ...(size === 0
      ? {}
      : { tcpOptions: [2, 4, size >> 8, size & 255, ...(random() < 0.5 ? [] : [1, 3, 3, 7])] }),
    ...(isUnanswered ? pick(isIpv6 ? UNANSWERED.filter(({ options }) => !options) : UNANSWERED) : {}),
  };
  const whole = frame(spec);
  const isPadded = random() < 0.5 && whole.length - HEADROOM < 60;
  const bytes = Uint8Array.from(
    isPadded ? Buffer.concat([whole, Buffer.alloc(60 - whole.length + HEADROOM)]) : whole,
  ).subarray(HEADROOM);
  answer = null;
  const before = fast.counters();
  const ran = run(Uint8Array.from(bytes));
  const after = fast.counters();
  if (after.upcalls > before.upcalls) continue;
  if (isUnanswered) {
    dropped++;
    if (ran.verdict !== DROP || after.overShare !== before.overShare + 1) wrong = { n, spec, ran };
    continue;
  }
  const copy = Buffer.concat([Buffer.alloc(HEADROOM), bytes]);
  dataplane.receive(PORT_OUT, copy, HEADROOM, bytes.length);
  answered++;
  if (ran.verdict !== TX || ran.bytes !== answer || after.overShare !== before.overShare)
    wrong = { n, spec, ran, answer };
}
// A service that a firewall protects is left alone.
const guarded = structuredClone(graph);
for (const service of guarded.services)
  service.components.unshift({ type: 'firewall', policy: 'p', rules: [], defaultAction: 'allow' });
answers.load(guarded);
shares.tick(1000, 0, 1);
console.log(
  JSON.stringify({
    answered,
    dropped,
    counted: [...shares.answered().values()].reduce((sum, one) => sum + one, 0),
    guarded: [...answers.order(new Set(guarded.services.map(({ name }) => name))).services],
    wrong,
  }),
);
process.exit();
