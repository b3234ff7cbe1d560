/** Seals secrets of the store (AES-256-GCM), with a key that stands in a file beside it and in no backup. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { WeftError } from '../policy/errors.ts';

export interface Sealer {
  /** `place`: the store key that the text is kept under; it opens under no other. */
  seal(text: string, place: string): string;
  /** Null where it was sealed with another key, for another place, or is damaged. */
  open(sealed: unknown, place: string): string | null;
}

const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** The sealer whose key the file holds; it is made (0600) where there is none. Throws ERR_STORE_WRITE, ERR_STORE_CORRUPT. */
export async function openSealer(file: string): Promise<Sealer> {
  const key = await readKey(file);
  if (key !== null) return sealerOf(key);
  const fresh = randomBytes(KEY_BYTES);
  try {
    const handle = await open(file, 'wx', 0o600);
    try {
      await handle.writeFile(`${fresh.toString('base64')}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new WeftError('ERR_STORE_WRITE', `the key of the secrets cannot be written to ${file}`, { cause });
  }
  return sealerOf(fresh);
}

async function readKey(file: string): Promise<Buffer | null> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new WeftError('ERR_STORE_CORRUPT', `${file} cannot be read: it holds the key of the secrets`, {
      cause,
    });
  }
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length === KEY_BYTES) return key;
  throw new WeftError(
    'ERR_STORE_CORRUPT',
    `${file} does not hold the key of the secrets any more: put it back, or move it away and give all keys again`,
  );
}

/** The sealer of a key of 32 bytes. */
export function sealerOf(key: Uint8Array): Sealer {
  return {
    seal(text, place) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(place));
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return Buffer.concat([iv, cipher.getAuthTag(), body]).toString('base64');
    },
    open(sealed, place) {
      if (typeof sealed !== 'string') return null;
      const bytes = Buffer.from(sealed, 'base64');
      if (bytes.length < IV_BYTES + TAG_BYTES) return null;
      try {
        const cipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES))
          .setAAD(Buffer.from(place))
          .setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
        return cipher.update(bytes.subarray(IV_BYTES + TAG_BYTES), undefined, 'utf8') + cipher.final('utf8');
      } catch {
        return null;
      }
    },
  };
}

/** Where the secret of an object is kept in the store. */
export const secretKey = (kind: string, name: string): string => `secret/${kind}/${name}`;
