/** h2spec, strict, against the proxy: by every kind of loop, with and without TLS. What fails stands in docs/divergence.md. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BUILD_TIMEOUT_MS, goProgram } from '../../../vcenter/go-program.ts';
import { makeCertificate } from '../../tls/certificates.ts';
import { loopKinds, ProxySite } from '../proxy-site.ts';
import { RecordingOrigin } from '../recording-origin.ts';

interface Report {
  passed: number;
  skipped: number;
  failed: string[];
}

const CASES = 146;
/** Where the port speaks HTTP/1.1 as well, so not where ALPN has chosen HTTP/2. */
const FAILING = 'http2/3.5/2: Sends invalid connection preface';

describe('h2spec', () => {
  const origin = new RecordingOrigin();
  const folder = mkdtempSync(join(tmpdir(), 'weft-h2spec-'));
  let program: string;
  let memberPort: number;

  before(async function () {
    this.timeout(BUILD_TIMEOUT_MS + 20_000);
    const built = goProgram('h2spec');
    if (built === null) this.skip();
    program = built;
    memberPort = await origin.listen();
  });
  after(async () => {
    if (memberPort !== undefined) await origin.close();
    rmSync(folder, { recursive: true });
  });

  for (const loop of loopKinds()) {
    for (const isSecure of [false, true]) {
      it(`passes by ${loop}${isSecure ? ' over TLS' : ''}`, async function () {
        this.timeout(120_000);
        const certificates = [makeCertificate(folder, 'site', ['localhost'])];
        const site = await ProxySite.start([memberPort], isSecure ? { tls: { certificates } } : {}, loop);
        try {
          const { stdout } = await promisify(execFile)(program, [
            `-port=${site.port}`,
            `-tls=${String(isSecure)}`,
          ]);
          const { passed, skipped, failed } = JSON.parse(stdout) as Report;
          assert.deepEqual(failed, isSecure ? [] : [FAILING]);
          assert.deepEqual({ passed, skipped }, { passed: CASES - failed.length, skipped: 0 });
        } finally {
          await site.stop();
        }
      });
    }
  }

  it('has its failing case named in docs/divergence.md', () => {
    const text = readFileSync(join(import.meta.dirname, '../../../../docs/divergence.md'), 'utf8');
    assert.match(text, /^\| 3\.5\/2, an invalid connection preface/m);
  });
});
