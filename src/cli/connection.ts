/** Where the controller is: options, environment, or the file that a running controller leaves for its lab. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '../policy/errors.ts';
import type { Terminal } from './terminal.ts';

export interface Connection {
  /** For example `http://127.0.0.1:7470`. */
  url: string;
  token: string;
  /** The lab whose controller it is, where it was found by the name of the lab. */
  lab?: string;
}

export interface ConnectionOptions {
  url?: string;
  token?: string;
  lab?: string;
}

/**
 * The controller to speak to: --url and --token, else the lab named with --lab, else WEFT_URL and WEFT_TOKEN, else
 * the lab of WEFT_LAB, else the lab `lab`. Throws ERR_USAGE, ERR_UNREACHABLE (no such lab is up), ERR_PRIVILEGE.
 */
export async function findConnection(options: ConnectionOptions, terminal: Terminal): Promise<Connection> {
  const { env } = terminal;
  if (options.url !== undefined)
    return explicit(options.url, options.token ?? env.WEFT_TOKEN, '--url', '--token');
  if (options.lab === undefined && env.WEFT_URL) {
    return explicit(env.WEFT_URL, options.token ?? env.WEFT_TOKEN, 'WEFT_URL', 'WEFT_TOKEN');
  }
  const found = await readClientFile(options.lab ?? env.WEFT_LAB ?? 'lab', terminal.runDirectory);
  return options.token === undefined ? found : { ...found, token: options.token };
}

async function readClientFile(lab: string, runDirectory: string): Promise<Connection> {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/.test(lab)) {
    throw new WeftError('ERR_USAGE', `${JSON.stringify(lab)} is not the name of a lab`);
  }
  const file = join(runDirectory, lab, 'client.json');
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM') {
      throw new WeftError(
        'ERR_PRIVILEGE',
        `${file} may be read by root only: run this as root (sudo weft ...)`,
        {
          cause,
        },
      );
    }
    const start = lab === 'lab' ? 'weft lab up' : `weft lab up --lab ${lab}`;
    throw new WeftError(
      'ERR_UNREACHABLE',
      `no controller is running for the lab "${lab}" (${file} is not there): start it with "${start}", or name another controller with --url and --token`,
      { cause },
    );
  }
  try {
    const { url, token } = JSON.parse(text) as Partial<Connection>;
    return { ...explicit(url, token, file, file), lab };
  } catch (cause) {
    throw new WeftError('ERR_UNREACHABLE', `${file} is damaged: restart the controller, which writes it`, {
      cause,
    });
  }
}

function explicit(
  url: string | undefined,
  token: string | undefined,
  urlName: string,
  tokenName: string,
): Connection {
  const protocol = URL.canParse(url ?? '') ? new URL(url!).protocol : '';
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw new WeftError(
      'ERR_USAGE',
      `${urlName} must be an address such as http://127.0.0.1:7470, not ${JSON.stringify(url)}`,
    );
  }
  if (!token)
    throw new WeftError('ERR_USAGE', `there is no token for ${url}: set ${tokenName} or WEFT_TOKEN`);
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new WeftError('ERR_USAGE', `the token in ${tokenName} is malformed`);
  return { url: url!.replace(/\/+$/, ''), token };
}
