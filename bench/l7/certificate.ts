/** The certificate that all proxies of bench/l7.ts show: for P-256, signed by itself. Needs openssl. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes bench.pem, bench.key, and both in bench-both.pem. */
export function makeCertificate(folder: string): void {
  const [certificate, key] = [join(folder, 'bench.pem'), join(folder, 'bench.key')];
  const words = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=bench.example`;
  execFileSync('openssl', [...words.split(' '), '-keyout', key, '-out', certificate], { stdio: 'ignore' });
  writeFileSync(
    join(folder, 'bench-both.pem'),
    readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'),
  );
}
