/** Certificates for tests, made by openssl: self-signed, for the names that are wanted. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

export interface CertificateFiles {
  certificateFile: string;
  keyFile: string;
}

export function makeCertificate(directory: string, id: string, names: string[], days = 2): CertificateFiles {
  const certificateFile = join(directory, `${id}.pem`);
  const keyFile = join(directory, `${id}.key`);
  const san = names.map((name) => `DNS:${name}`).join();
  execFileSync(
    'openssl',
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days ${days} -keyout ${keyFile} -out ${certificateFile} -subj /CN=${id} -addext subjectAltName=${san}`.split(
      ' ',
    ),
    { stdio: 'ignore' },
  );
  return { certificateFile, keyFile };
}
