/** The appliance's OVA, read back by programs that are not ours where they are there. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildOva, type OvaOptions } from '../../../src/engine-vm/image/ova.ts';
import { isWeftError } from '../../../src/policy/errors.ts';

describe('engine image', () => {
  const never = new AbortController().signal;
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-image-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const options = (over: Partial<OvaOptions> = {}): OvaOptions => ({
    disk: null,
    file: join(directory, 'engine.ova'),
    version: '0.1.0',
    signer: null,
    modifiedAt: Date.UTC(2026, 0, 1),
    ...over,
  });

  /** 70 MiB, so that there is more than one grain table: bytes at the start, in the middle, over a grain's border, at the end. */
  function rawImage(): string {
    const file = join(directory, 'disk.raw');
    const length = 70 * (1 << 20) + 1536;
    writeFileSync(file, '');
    truncateSync(file, length);
    const image = readFileSync(file);
    randomBytes(100_000).copy(image, 0);
    image.write('across a border', 40 * (1 << 20) - 5);
    image.write('the very end', length - 12);
    writeFileSync(file, image);
    return file;
  }

  it('is an archive of descriptor, manifest and disk in that order, as tar lists it', async () => {
    const { entries, sizeBytes } = await buildOva(options(), never);
    const listed = run('tar', ['tvf', options().file]).trim().split('\n');
    assert.deepEqual(
      listed.map((line) => line.split(/\s+/).at(-1)),
      ['weft-engine.ovf', 'weft-engine.mf', 'weft-engine-disk1.vmdk'],
    );
    assert.deepEqual(
      listed.map((line) => Number(line.split(/\s+/)[2])),
      entries.map((entry) => entry.sizeBytes),
    );
    assert.equal(readFileSync(options().file).length, sizeBytes);
    assert.equal(sizeBytes % 512, 0);
  });

  it('has a manifest that sha256sum agrees with', async () => {
    await buildOva(options(), never);
    const unpacked = mkdtempSync(join(directory, 'unpacked-'));
    run('tar', ['xf', options().file, '-C', unpacked]);
    for (const line of readFileSync(join(unpacked, 'weft-engine.mf'), 'utf8').trim().split('\n')) {
      const [, name, hash] = /^SHA256\((.+)\)= ([0-9a-f]{64})$/.exec(line)!;
      assert.equal(run('sha256sum', [join(unpacked, name!)]).slice(0, 64), hash);
    }
  });

  it('has a descriptor that an XML parser takes, with sizes that are those of the disk', async function () {
    const { diskCapacityBytes } = await buildOva(options(), never);
    const descriptor = run('tar', ['xOf', options().file, 'weft-engine.ovf']);
    assert.doesNotMatch(descriptor, /\{\{/);
    assert.match(descriptor, new RegExp(`ovf:capacity="${diskCapacityBytes}"`));
    if (!isThere('xmllint')) return notRun(this, 'xmllint', 'libxml2-utils');
    const file = join(directory, 'engine.ovf');
    writeFileSync(file, descriptor);
    run('xmllint', ['--noout', file]);
  });

  it('holds the disk: qemu-img finds it sound and unpacks it to the same bytes', async function () {
    if (!isThere('qemu-img')) return notRun(this, 'qemu-img', 'qemu-utils');
    const disk = rawImage();
    const { diskCapacityBytes } = await buildOva(options({ disk }), never);
    run('tar', ['xf', options().file, '-C', directory, 'weft-engine-disk1.vmdk']);
    const packed = join(directory, 'weft-engine-disk1.vmdk');
    const info = JSON.parse(run('qemu-img', ['info', '--output=json', packed])) as {
      'virtual-size': number;
      format: string;
      'format-specific': { data: { 'create-type': string } };
    };
    assert.equal(info.format, 'vmdk');
    assert.equal(info['format-specific'].data['create-type'], 'streamOptimized');
    assert.equal(info['virtual-size'], diskCapacityBytes);
    run('qemu-img', ['check', packed]);
    const back = join(directory, 'back.raw');
    run('qemu-img', ['convert', '-O', 'raw', packed, back]);
    const before = readFileSync(disk);
    const after = readFileSync(back);
    assert.ok(after.subarray(0, before.length).equals(before), 'the same bytes');
    assert.ok(
      after.subarray(before.length).every((byte) => byte === 0),
      'filled up with zeros',
    );
    assert.ok(readFileSync(packed).length < 1 << 20, 'zeros take no place');
  });

  it('is the same, byte for byte, from the same input', async () => {
    const [first, second] = [join(directory, 'first.ova'), join(directory, 'second.ova')];
    const disk = rawImage();
    await buildOva(options({ file: first, disk }), never);
    await buildOva(options({ file: second, disk }), never);
    const hash = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');
    assert.equal(hash(first), hash(second));
  });

  it('says that a blank one does not boot', async () => {
    await buildOva(options(), never);
    assert.match(run('tar', ['xOf', options().file, 'weft-engine.ovf']), /does not boot/);
  });

  it('refuses what is no raw image, and leaves nothing behind', async () => {
    const refused = (disk: string, message: RegExp) =>
      assert.rejects(buildOva(options({ disk, file: join(directory, 'none.ova') }), never), (error) => {
        assert.ok(isWeftError(error, 'ERR_USAGE'), String(error));
        assert.match(error.message, message);
        return true;
      });
    const write = (name: string, content: string | Buffer) => {
      writeFileSync(join(directory, name), content);
      return join(directory, name);
    };
    await refused(write('a.vmdk', 'KDMV'), /is a VMDK/);
    await refused(write('a.qcow2', Buffer.from('QFI\xfb', 'latin1')), /is a qcow2 image/);
    await refused(write('empty.raw', ''), /empty/);
    await refused(directory, /is not a file|EISDIR/);
    await refused(join(directory, 'absent.raw'), /absent\.raw/);
    const abort = new AbortController();
    abort.abort(new Error('enough'));
    await assert.rejects(buildOva(options({ file: join(directory, 'none.ova') }), abort.signal), /enough/);
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.startsWith('none')),
      [],
    );
  });
});

function run(program: string, args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function isThere(program: string): boolean {
  try {
    run(program, ['--version']);
    return true;
  } catch {
    return false;
  }
}

/** One visible line for a check that this machine cannot run. */
function notRun(context: Mocha.Context, program: string, debianPackage: string): void {
  console.log(`      ${program} is not here, so this was not checked: apt-get install ${debianPackage}`);
  context.skip();
}
