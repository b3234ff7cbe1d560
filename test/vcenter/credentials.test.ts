/** The file with user and password of a vCenter. */
import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CloudSpec } from '../../src/policy/cloud.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { readCredentials } from '../../src/vcenter/credentials.ts';

describe('the credentials of a vCenter', () => {
  let folder: string;
  let file: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'weft-credentials-'));
    file = join(folder, 'vcenter');
  });
  after(() => rm(folder, { recursive: true }));

  const write = async (text: string, mode = 0o600) => {
    await writeFile(file, text);
    await chmod(file, mode);
  };
  const refused = (says: RegExp, path = file) =>
    assert.rejects(readCredentials(path), (error) => {
      assert.ok(isWeftError(error, 'ERR_HYPERVISOR_REFUSED'));
      assert.match(error.message, says);
      assert.doesNotMatch(error.message, /s3cret/);
      return true;
    });

  it('are read from two lines', async () => {
    await write('user: weft@vsphere.local\npassword: "s3cret: #1"\n');
    assert.deepEqual(await readCredentials(file), { user: 'weft@vsphere.local', password: 's3cret: #1' });
  });

  it('are refused where others may read them', async () => {
    await write('user: a\npassword: s3cret\n', 0o640);
    await refused(/chmod 600/);
  });

  it('are refused, and not shown, where the file is none', async () => {
    await write('s3cret');
    await refused(/two lines/);
    await write('user: a\npassword: [s3cret\n');
    await refused(/two lines/);
    await write('user: a\n');
    await refused(/two lines/);
    await refused(/cannot be read/, join(folder, 'none'));
    await refused(/no regular file/, folder);
  });

  it('are named by the cloud, not written into it', () => {
    const spec = {
      platform: 'vcenter',
      address: 'https://vc.example.org',
      credentials: '/etc/weft/vcenter',
      thumbprint: Array(32).fill('AB').join(':'),
      managementNetwork: 'mgmt',
      ova: '/var/lib/weft/engine.ova',
      shadowVlans: { first: 3900, last: 3999 },
    };
    assert.equal(CloudSpec.parse(spec).pollIntervalMs, 5000);
    for (const wrong of [
      { address: 'http://vc.example.org' },
      { address: 'https://user:secret@vc.example.org' },
      { address: 'https://vc.example.org/sdk' },
      { thumbprint: 'AB:CD' },
      { credentials: 'relative' },
      { password: 's3cret' },
      { shadowVlans: { first: 20, last: 10 } },
    ]) {
      assert.equal(CloudSpec.safeParse({ ...spec, ...wrong }).success, false, JSON.stringify(wrong));
    }
    assert.deepEqual(CloudSpec.parse({ platform: 'lab', address: '/run/weft/lab/lab.sock' }), {
      platform: 'lab',
      address: '/run/weft/lab/lab.sock',
      pollIntervalMs: 5000,
    });
  });
});
