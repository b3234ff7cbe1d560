/** An authority for tests, by `openssl ca`: issues certificates of any time and use, and revokes them. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Issued {
  certificateFile: string;
  keyFile: string;
  certificate: Buffer;
  key: Buffer;
}

export interface IssueOptions {
  /** As openssl writes them: YYMMDDHHMMSSZ. */
  from?: string;
  to?: string;
  use?: 'clientAuth' | 'serverAuth';
  names?: string;
  subject?: string;
}

export class Authority {
  readonly certificateFile: string;
  readonly #folder: string;
  readonly #config: string;

  constructor(directory: string, name: string) {
    this.#folder = join(directory, `authority-${name}`);
    this.certificateFile = join(this.#folder, 'authority.pem');
    this.#config = join(this.#folder, 'config');
    mkdirSync(this.#folder);
    writeFileSync(join(this.#folder, 'index'), '');
    writeFileSync(
      this.#config,
      `[ca]
default_ca = own
[own]
database = ${this.#folder}/index
new_certs_dir = ${this.#folder}
certificate = ${this.certificateFile}
private_key = ${this.#folder}/authority.key
rand_serial = yes
default_md = sha256
default_days = 2
default_crl_days = 2
policy = any
unique_subject = no
[any]
commonName = optional
organizationName = optional
`,
    );
    this.#run(
      'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2',
      '-keyout',
      join(this.#folder, 'authority.key'),
      '-out',
      this.certificateFile,
      '-subj',
      `/CN=${name}`,
    );
  }

  #run(words: string, ...more: string[]): void {
    execFileSync('openssl', [...words.split(' '), ...more], { stdio: 'ignore' });
  }

  issue(
    id: string,
    { from, to, use = 'clientAuth', names, subject = `/CN=${id}` }: IssueOptions = {},
  ): Issued {
    const [keyFile, request, certificateFile, extensions] = ['key', 'csr', 'pem', 'ext'].map((end) =>
      join(this.#folder, `${id}.${end}`),
    ) as [string, string, string, string];
    this.#run(
      'req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -utf8',
      ...['-keyout', keyFile, '-out', request, '-subj', subject],
    );
    writeFileSync(
      extensions,
      `extendedKeyUsage = ${use}\n${names === undefined ? '' : `subjectAltName = ${names}\n`}`,
    );
    this.#run(
      'ca -batch -notext -utf8',
      ...['-config', this.#config, '-in', request, '-out', certificateFile, '-extfile', extensions],
      ...(from === undefined ? [] : ['-startdate', from]),
      ...(to === undefined ? [] : ['-enddate', to]),
    );
    return {
      certificateFile,
      keyFile,
      certificate: readFileSync(certificateFile),
      key: readFileSync(keyFile),
    };
  }

  revoke({ certificateFile }: Issued): void {
    this.#run('ca -batch', '-config', this.#config, '-revoke', certificateFile);
  }

  /** A list of what is revoked by now. */
  list(id: string): string {
    const file = join(this.#folder, `${id}.crl`);
    this.#run('ca -gencrl', '-config', this.#config, '-out', file);
    return file;
  }

  /** The answer of its OCSP responder about a certificate, good for so many minutes. */
  ocsp({ certificateFile }: Issued, id: string, minutes: number): string {
    const file = join(this.#folder, `${id}.ocsp`);
    const request = join(this.#folder, `${id}.ocsp-request`);
    this.#run(
      'ocsp -no_nonce',
      ...['-issuer', this.certificateFile, '-cert', certificateFile, '-reqout', request],
    );
    this.#run(
      'ocsp',
      ...[
        '-index',
        join(this.#folder, 'index'),
        '-CA',
        this.certificateFile,
        '-rsigner',
        this.certificateFile,
      ],
      ...['-rkey', join(this.#folder, 'authority.key'), '-reqin', request, '-respout', file],
      ...['-nmin', String(minutes)],
    );
    return file;
  }
}
