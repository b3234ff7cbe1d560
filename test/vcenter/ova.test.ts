/** Reading an OVA before it is imported: what we build is taken, and what a stranger may have made of it is not. */
import assert from 'node:assert/strict';
import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { buildOva } from '../../src/engine-vm/image/ova.ts';
import type { ImageSigner } from '../../src/engine-vm/image/signature.ts';
import { tarEnd, tarHeader, tarPadding } from '../../src/engine-vm/image/tar.ts';
import { AUTHORITY_KEY, type AuthorityRecord, openAuthority } from '../../src/pki/authority.ts';
import { buildEngineCertificate, generateKey, keyPem } from '../../src/pki/certificate.ts';
import { issueImageSigner } from '../../src/pki/image-signer.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { openEmbeddedStore } from '../../src/state/embedded-store.ts';
import { type OvaDemands, openOva } from '../../src/vcenter/ova.ts';

interface Authority {
  ca: string;
  signer: ImageSigner;
  /** An engine of the same CA that has turned against it. */
  engine: ImageSigner;
}

describe('OVA of the appliance', function () {
  this.timeout(60_000);
  const never = new AbortController().signal;
  const now = Date.UTC(2026, 0, 1);
  let directory: string;
  let ours: Authority;
  let theirs: Authority;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'weft-ova-'));
    [ours, theirs] = await Promise.all([authority('ours'), authority('theirs')]);
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function authority(name: string): Promise<Authority> {
    const store = await openEmbeddedStore(join(directory, `${name}.json`));
    try {
      await (await openAuthority(store, { now: () => now })).close();
      const record = (await store.get<AuthorityRecord>(AUTHORITY_KEY))!.value;
      const key = await generateKey(2048);
      const certificate = buildEngineCertificate(
        { certificate: record.certificate, key: createPrivateKey(record.key) },
        createPublicKey(key),
        'edge-1',
        1,
        now,
        3600_000,
      );
      return {
        ca: record.certificate,
        signer: await issueImageSigner(store, now),
        engine: { certificates: certificate, key: keyPem(key) },
      };
    } finally {
      await store.close();
    }
  }

  async function built(signer: ImageSigner | null): Promise<string> {
    const file = join(directory, 'engine.ova');
    await buildOva({ disk: null, file, version: '0.1.0', signer, modifiedAt: now }, never);
    return file;
  }

  type Entry = [name: string, content: string | Buffer, edit?: (header: Buffer) => void];

  /** An archive of any entries, well formed as tar. */
  function archive(entries: readonly Entry[], end = tarEnd()): string {
    const file = join(directory, 'crafted.ova');
    const parts = entries.flatMap(([name, content, edit]) => {
      const bytes = Buffer.from(content);
      const header = tarHeader(name, bytes.length, now);
      if (edit) {
        edit(header);
        header.write('        ', 148, 8, 'latin1');
        const sum = header.reduce((total, byte) => total + byte, 0);
        header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1');
      }
      return [header, bytes, tarPadding(bytes.length)];
    });
    writeFileSync(file, Buffer.concat([...parts, end]));
    return file;
  }

  const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');
  const descriptor = (files = '<File ovf:href="disk.vmdk" ovf:id="f" ovf:size="4"/>') =>
    `<?xml version="1.0"?><Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"><References>${files}</References></Envelope>`;
  const manifest = (ovf: string, disk: string | null = 'disk') =>
    `SHA256(e.ovf)= ${sha256(ovf)}\n${disk === null ? '' : `SHA256(disk.vmdk)= ${sha256(disk)}\n`}`;
  const sound = (ovf = descriptor()): Entry[] => [
    ['e.ovf', ovf],
    ['e.mf', manifest(ovf)],
    ['disk.vmdk', 'disk'],
  ];

  const opened = async (file: string, demands: Partial<OvaDemands> = {}) => {
    const ova = await openOva(file, { signedBy: null, now, ...demands }, never);
    await ova.close();
    return ova;
  };
  const refused = (file: string, why: RegExp, demands: Partial<OvaDemands> = {}) =>
    assert.rejects(opened(file, demands), (error) => {
      assert.ok(isWeftError(error, 'ERR_IMAGE_INVALID'), String(error));
      assert.match(error.message, why);
      return true;
    });

  it('takes what we build, with the files and hashes that went in', async () => {
    const file = await built(null);
    const ova = await openOva(file, { signedBy: null, now }, never);
    assert.deepEqual(
      ova.files.map(({ name }) => name),
      ['weft-engine-disk1.vmdk'],
    );
    const parts: Buffer[] = [];
    for await (const part of ova.read('weft-engine-disk1.vmdk', never)) parts.push(part);
    const content = Buffer.concat(parts);
    assert.equal(content.length, ova.files[0]!.sizeBytes);
    assert.equal(sha256(content), ova.files[0]!.sha256);
    assert.equal(ova.signer, null);
    await ova.close();
    await opened(archive(sound()));
  });

  it('takes a signature of the CA that is trusted, and no other', async () => {
    const file = await built(ours.signer);
    assert.match((await opened(file, { signedBy: [ours.ca] })).signer!, /Weft appliance image/);
    await opened(file, { signedBy: [theirs.ca, ours.ca] });
    await refused(file, /nobody whom this cloud trusts/, { signedBy: [theirs.ca] });
    await refused(await built(null), /not signed/, { signedBy: [ours.ca] });
  });

  it('takes no signature of an engine, though the same CA vouches for it', async () => {
    await refused(await built(ours.engine), /not one for signing code/, { signedBy: [ours.ca] });
  });

  it('takes no signature of a certificate that is not valid any more', async () => {
    const file = await built(ours.signer);
    await refused(file, /not valid now/, { signedBy: [ours.ca], now: now + 20 * 365 * 24 * 3600_000 });
  });

  it('refuses a manifest that was signed and then changed', async () => {
    const [ovf, mf, disk] = sound() as [Entry, Entry, Entry];
    const other = sign('sha256', 'another manifest', ours.signer.key).toString('hex');
    const cert = `SHA256(e.mf)= ${other}\n${ours.signer.certificates}`;
    await refused(archive([ovf, mf, ['e.cert', cert], disk]), /does not fit its manifest/);
    await refused(archive([ovf, mf, ['e.cert', 'SHA256(e.mf)= 00\n'], disk]), /no certificates/);
    await refused(archive([ovf, mf, ['e.cert', 'nothing'], disk]), /does not begin with/);
  });

  it('refuses content that is not what the manifest says', async () => {
    const bytes = readFileSync(await built(null));
    const file = join(directory, 'damaged.ova');
    bytes[bytes.length - 3000]! ^= 1;
    writeFileSync(file, bytes);
    await refused(file, /weft-engine-disk1\.vmdk is not what the manifest says/);
  });

  it('refuses a manifest that leaves a file out, names more, twice, or by a weak digest', async () => {
    const ovf = descriptor();
    const withManifest = (text: string) =>
      archive([
        ['e.ovf', ovf],
        ['e.mf', text],
        ['disk.vmdk', 'disk'],
      ]);
    await refused(withManifest(manifest(ovf, null)), /does not name disk\.vmdk/);
    await refused(withManifest(`${manifest(ovf)}SHA256(more)= ${sha256('x')}\n`), /names more/);
    await refused(withManifest(manifest(ovf) + manifest(ovf)), /twice/);
    await refused(withManifest(`SHA1(e.ovf)= ${'0'.repeat(40)}\n`), /SHA256 is asked for/);
    await refused(withManifest('anything'), /cannot be read/);
    await refused(
      archive([
        ['e.ovf', ovf],
        ['disk.vmdk', 'disk'],
      ]),
      /second file is not the manifest/,
    );
  });

  it('refuses links, sparse files, directories, extension headers, and names with a path', async () => {
    const [ovf, mf] = sound() as [Entry, Entry];
    const type = (letter: string): string =>
      archive([ovf, mf, ['disk.vmdk', 'disk', (header) => header.write(letter, 156, 1, 'latin1')]]);
    await refused(type('1'), /hard link/);
    await refused(type('2'), /symbolic link/);
    await refused(type('5'), /directory/);
    await refused(type('S'), /sparse/);
    for (const letter of ['x', 'g', 'L']) await refused(type(letter), /extension header/);
    await refused(type('Z'), /unknown type/);
    for (const name of ['../disk.vmdk', '/etc/passwd', 'a/b', '.hidden', 'a\nb', '..', '-rf']) {
      await refused(archive([ovf, mf, [name, 'disk']]), /plain names/);
    }
    const prefixed = (header: Buffer) => void header.write('../..', 345, 5, 'latin1');
    await refused(archive([ovf, mf, ['disk.vmdk', 'disk', prefixed]]), /plain names/);
  });

  it('refuses duplicates, strangers, wrong sizes, and descriptors that are none', async () => {
    const [ovf, mf, disk] = sound() as [Entry, Entry, Entry];
    await refused(archive([ovf, mf, disk, disk]), /twice/);
    await refused(archive([ovf, mf, disk, ['Disk.vmdk', 'x']]), /twice/);
    await refused(archive([mf, ovf, disk]), /first file is not the descriptor/);
    const lone = descriptor('');
    await refused(archive(sound(lone)), /to which the descriptor does not refer/);
    await refused(archive(sound(descriptor('<File ovf:href="disk.vmdk" ovf:size="5"/>'))), /says 5/);
    await refused(archive(sound(descriptor('<File ovf:href="../x" ovf:size="5"/>'))), /no plain file name/);
    await refused(archive(sound(descriptor('<File ovf:href="none.vmdk"/>'))), /which is not in it/);
    await refused(archive(sound(`<!DOCTYPE x [<!ENTITY a "aaaa">]>${descriptor()}`)), /document type/);
    await refused(archive(sound('nothing')), /not an OVF envelope/);
  });

  it('refuses what is too large, cut off, or goes on behind its end', async () => {
    const file = archive(sound());
    await refused(file, /too much/, { maxBytes: 1000 });
    await refused(archive(sound(), Buffer.alloc(0)), /cut off/);
    await refused(archive(sound(), Buffer.concat([tarEnd(), Buffer.from('more')])), /behind the end/);
    const [ovf] = sound() as [Entry];
    const huge = (header: Buffer) => void header.write('77777777777', 124, 11, 'latin1');
    await refused(archive([ovf, ['e.mf', 'x', huge]]), /cut off/);
    const binary = (header: Buffer) => void header.fill(0x80, 124, 125);
    await refused(archive([ovf, ['e.mf', 'x', binary]]), /size of e\.mf cannot be read/);
    await refused(archive(Array.from({ length: 40 }, (_, index): Entry => [`f${index}`, 'x'])), /more than/);
    await refused(join(directory, 'absent.ova'), /cannot be opened/);
  });

  it('notices when the archive is changed between the check and the upload', async () => {
    const file = await built(null);
    const ova = await openOva(file, { signedBy: null, now }, never);
    const bytes = readFileSync(file);
    bytes[bytes.length - 3000]! ^= 1;
    writeFileSync(file, bytes);
    await assert.rejects(async () => {
      for await (const _ of ova.read('weft-engine-disk1.vmdk', never));
    }, /was changed while it was read/);
    await ova.close();
  });

  it('takes no certificate that is damaged anywhere', async () => {
    const whole = readFileSync(await built(ours.signer));
    const from = whole.indexOf('-----BEGIN CERTIFICATE-----');
    const to = whole.indexOf('-----END CERTIFICATE-----');
    assert.ok(from > 0 && to > from);
    const file = join(directory, 'damaged.ova');
    for (let offset = from; offset < to; offset++) {
      const bytes = Buffer.from(whole);
      bytes[offset] = bytes[offset] === 0x31 ? 0x41 : 0x31;
      writeFileSync(file, bytes);
      await refused(file, /certificate|sign/, { signedBy: [ours.ca] });
    }
  });

  it('survives any damage: taken as it was, or refused with a reason', async () => {
    const whole = readFileSync(await built(ours.signer));
    const headEnd = Math.min(whole.length, 24_000);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: headEnd - 1 }), fc.nat({ max: 255 })), {
          minLength: 1,
          maxLength: 5,
        }),
        fc.nat({ max: whole.length }),
        fc.boolean(),
        async (edits, cut, isCut) => {
          const bytes = Buffer.from(isCut ? whole.subarray(0, cut) : whole);
          for (const [offset, value] of edits) if (offset < bytes.length) bytes[offset] = value;
          const file = join(directory, 'fuzzed.ova');
          writeFileSync(file, bytes);
          await opened(file, { signedBy: [ours.ca] }).catch((error: unknown) => {
            assert.ok(isWeftError(error, 'ERR_IMAGE_INVALID'), String(error));
          });
        },
      ),
      { numRuns: 150 },
    );
  });
});
