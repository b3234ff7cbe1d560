/** A key of session tickets (RFC 5077), as OpenSSL is given it ticket by ticket: so several can be taken at a time. */
import { randomFillSync } from 'node:crypto';
import ffi from 'node:ffi';
import { WeftError } from '../../policy/errors.ts';
import { lib } from './openssl.ts';

export const TICKET_KEY_BYTES = 80;
const NAME_BYTES = 16;
const IV_BYTES = 16;
const HALF_BYTES = 32;
/** An OSSL_PARAM of 64 bits: name, type, data, length, length returned. */
const PARAMETER_BYTES = 40;
const UTF8 = 4;
const OCTETS = 5;

let cipher = 0n;

export class TicketKey {
  readonly #bytes: Uint8Array;
  readonly #pointer: bigint;
  readonly #parameters: Uint8Array;
  /** What the parameters point at. */
  readonly #texts = [Buffer.from('key\0'), Buffer.from('digest\0'), Buffer.from('sha256\0')] as const;

  /** 80 bytes: 16 of name, 32 for HMAC-SHA-256, 32 for AES-256-CBC. Throws ERR_KERNEL. */
  constructor(bytes: Uint8Array) {
    cipher ||= lib.EVP_CIPHER_fetch(0n, 'AES-256-CBC', 0n);
    if (cipher === 0n) throw new WeftError('ERR_KERNEL', 'OpenSSL has no AES-256-CBC: use the pinned Node');
    this.#bytes = bytes.slice();
    this.#pointer = ffi.getRawPointer(this.#bytes);
    // Behind the two stands one of zeros, which ends them.
    const parameters = new DataView(new ArrayBuffer(3 * PARAMETER_BYTES));
    const put = (index: number, name: Buffer, type: number, data: bigint, length: number): void => {
      const at = index * PARAMETER_BYTES;
      parameters.setBigUint64(at, ffi.getRawPointer(name), true);
      parameters.setUint32(at + 8, type, true);
      parameters.setBigUint64(at + 16, data, true);
      parameters.setBigUint64(at + 24, BigInt(length), true);
    };
    const [key, digest, sha256] = this.#texts;
    put(0, key, OCTETS, this.#pointer + BigInt(NAME_BYTES), HALF_BYTES);
    put(1, digest, UTF8, ffi.getRawPointer(sha256), sha256.length - 1);
    this.#parameters = new Uint8Array(parameters.buffer);
  }

  /** Is a ticket with that name of this key? */
  isOf(name: bigint): boolean {
    const given = new Uint8Array(ffi.toArrayBuffer(name, NAME_BYTES, false));
    return given.every((byte, n) => byte === this.#bytes[n]);
  }

  /** For a ticket that is made: writes name and vector, sets cipher and MAC. False where that cannot be. */
  seal(name: bigint, vector: bigint, cipherContext: bigint, mac: bigint): boolean {
    new Uint8Array(ffi.toArrayBuffer(name, NAME_BYTES, false)).set(this.#bytes.subarray(0, NAME_BYTES));
    new Uint8Array(ffi.toArrayBuffer(vector, IV_BYTES, false)).set(randomFillSync(new Uint8Array(IV_BYTES)));
    return (
      lib.EVP_EncryptInit_ex(cipherContext, cipher, 0n, this.#cipherKey, vector) === 1 && this.#setMac(mac)
    );
  }

  /** For a ticket that has come. */
  open(vector: bigint, cipherContext: bigint, mac: bigint): boolean {
    return (
      lib.EVP_DecryptInit_ex(cipherContext, cipher, 0n, this.#cipherKey, vector) === 1 && this.#setMac(mac)
    );
  }

  get #cipherKey(): bigint {
    return this.#pointer + BigInt(NAME_BYTES + HALF_BYTES);
  }

  #setMac(mac: bigint): boolean {
    return lib.EVP_MAC_CTX_set_params(mac, ffi.getRawPointer(this.#parameters)) === 1;
  }
}
