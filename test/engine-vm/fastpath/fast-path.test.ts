import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requireRoot } from '../../root.ts';
import { requireAfXdp } from '../kernel/af-xdp.ts';
import { Namespaces } from '../kernel/namespaces.ts';

const folder = fileURLToPath(new URL('../../../src/engine-vm/fastpath/', import.meta.url));
const compare = fileURLToPath(new URL('compare-program.ts', import.meta.url));
/** Packets of each kind of program; WEFT_FASTPATH_SEED repeats a run. */
const PACKETS = 100_000;
const SEED = Number(process.env.WEFT_FASTPATH_SEED ?? Date.now() % 1_000_000);

interface Comparison {
  forwarded: number;
  /** Of those: into a tunnel, and out of one. */
  into: number;
  outOf: number;
  /** To the engine's own stack, and from it. */
  toStack: number;
  fromStack: number;
  /** By an AF_XDP socket. */
  received: number;
  mismatch: object | null;
  flows: number;
  unlike: string[] | null;
}

describe('fast path', () => {
  const spaces = new Namespaces();
  let space: string;

  before(function () {
    requireRoot(this, 'tests of the fast path');
    space = spaces.add('fast');
    // Nothing but the test's own packets shall pass here.
    for (const scope of ['all', 'default']) spaces.sysctl(space, `net/ipv6/conf/${scope}/disable_ipv6`, 1);
    for (const name of ['out', 'in', 'self']) {
      spaces.link(space, name, space, `far-${name}`);
      // The longest datagram of a tunnel that goes astray is passed on as it is.
      for (const end of [name, `far-${name}`]) spaces.ip(space, `link set ${end} mtu 1600`);
    }
  });
  after(() => spaces.close());

  for (const [kind, how] of [
    ['xdp', 'as xdp'],
    ['tc', 'as tc'],
    ['xsk', 'as xdp with AF_XDP both ways'],
  ] as const) {
    it(`gives ${PACKETS} random packets the same verdict and the same bytes as TypeScript does, ${how}`, function () {
      this.timeout(120_000);
      if (kind === 'xsk') requireAfXdp(this);
      console.log(`      seed ${SEED}`);
      const output = spaces.run(space, process.execPath, [
        '--disable-warning=ExperimentalWarning',
        compare,
        kind,
        String(PACKETS),
        String(SEED),
      ]);
      const result = JSON.parse(output) as Comparison;
      assert.equal(result.mismatch, null, JSON.stringify(result.mismatch));
      assert.equal(result.unlike, null, `the flow tables differ: ${result.unlike?.join(' against ')}`);
      assert.ok(result.forwarded > PACKETS / 10, `the program forwarded ${result.forwarded} of ${PACKETS}`);
      assert.ok(result.into > 200 && result.outOf > 200, `${result.into} into tunnels, ${result.outOf} out`);
      assert.ok(
        result.toStack > 200 && result.fromStack > 200,
        `${result.toStack} to the stack, ${result.fromStack} from it`,
      );
      assert.ok(result.flows > 100);
      if (kind === 'xsk') assert.ok(result.received > PACKETS / 10, `${result.received} came by AF_XDP`);
    });
  }

  it('is loaded from objects that are those of its source', function () {
    this.timeout(60_000);
    const compiler = compilerOf(join(folder, 'flow.xdp.o'));
    let version: string;
    try {
      version = execFileSync('clang', ['--version'], { encoding: 'utf8' }).split('\n')[0]!;
    } catch {
      console.log('      clang is not here, so the objects were not built again');
      return this.skip();
    }
    if (!compiler.includes(version.replace(/^.*version /, ''))) {
      console.log(`      this clang is another one (${version}), so the objects were not built again`);
      return this.skip();
    }
    const directory = mkdtempSync(join(tmpdir(), 'weft-fastpath-'));
    try {
      execFileSync(join(folder, 'build'), [directory]);
      for (const name of ['flow.xdp.o', 'flow.tc.o']) {
        assert.ok(
          readFileSync(join(directory, name)).equals(readFileSync(join(folder, name))),
          `${name} is older than flow.bpf.c: run src/engine-vm/fastpath/build`,
        );
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

/** What the compiler wrote into an object about itself. */
function compilerOf(object: string): string {
  const text = readFileSync(object, 'latin1');
  return /[\w ]*[Cc]lang [\d.][^\0]*/.exec(text)?.[0] ?? '';
}
