/** Responses of OCSP responders (RFC 6960), as servers staple them: read, and held against the certificate. */
import ffi from 'node:ffi';
import { eachOf } from './certificates.ts';
import { lib } from './openssl.ts';

/** OCSP_TRUSTOTHER: the issuer that is handed over is believed. */
const TRUST_OTHERS = 0x200n;
/** V_OCSP_CERTSTATUS. */
const STATUSES = ['good', 'revoked', 'unknown'] as const;
const DAY_MS = 86_400_000;

export interface OcspVerdict {
  readonly status: (typeof STATUSES)[number];
  /** Milliseconds from now on, below 0 where it is over; null where the response does not say. */
  readonly endsInMs: number | null;
}

/**
 * What a response in DER says of the certificate that is the first of `chain`; its issuer is the second there, or the
 * certificate itself. Text says what is wrong.
 */
export function judgeOcsp(response: Uint8Array, chain: string): OcspVerdict | string {
  const certificates: bigint[] = [];
  eachOf(chain, lib.PEM_read_bio_X509, (certificate) => certificates.push(certificate));
  const [certificate, issuer = certificate] = certificates;
  try {
    if (certificate === undefined || issuer === undefined) return 'there is no certificate for it';
    return withBasic(response, (basic) => judgeBasic(basic, certificate, issuer));
  } finally {
    for (const one of certificates) lib.X509_free(one);
    lib.ERR_clear_error();
  }
}

function withBasic(
  response: Uint8Array,
  judge: (basic: bigint) => OcspVerdict | string,
): OcspVerdict | string {
  // d2i moves the pointer that it is given.
  const pointer = new BigUint64Array([ffi.getRawPointer(response)]);
  const parsed = lib.d2i_OCSP_RESPONSE(0n, ffi.getRawPointer(pointer), BigInt(response.length));
  if (parsed === 0n) return 'it is no OCSP response in DER';
  const status = lib.OCSP_response_status(parsed);
  const basic = status === 0 ? lib.OCSP_response_get1_basic(parsed) : 0n;
  lib.OCSP_RESPONSE_free(parsed);
  if (basic === 0n) return `the responder had no answer (status ${status})`;
  const verdict = judge(basic);
  lib.OCSP_BASICRESP_free(basic);
  return verdict;
}

function judgeBasic(basic: bigint, certificate: bigint, issuer: bigint): OcspVerdict | string {
  const id = lib.OCSP_cert_to_id(0n, certificate, issuer);
  const status = new Int32Array(1);
  const next = new BigUint64Array(1);
  const isFound = lib.OCSP_resp_find_status(
    basic,
    id,
    ffi.getRawPointer(status),
    0n,
    0n,
    0n,
    ffi.getRawPointer(next),
  );
  lib.OCSP_CERTID_free(id);
  if (isFound !== 1) return 'it is of another certificate, or the issuer does not stand behind this one';
  if (!isSigned(basic, issuer)) return 'it is not signed by the issuer of the certificate';
  return { status: STATUSES[status[0]!] ?? 'unknown', endsInMs: next[0] === 0n ? null : untilMs(next[0]!) };
}

/** By the issuer, or by a responder whose certificate the issuer has signed for that. */
function isSigned(basic: bigint, issuer: bigint): boolean {
  const store = lib.X509_STORE_new();
  lib.X509_STORE_add_cert(store, issuer);
  // What was issued by an authority that is itself not a root is to be believed too.
  lib.X509_STORE_set_flags(store, PARTIAL_CHAIN);
  const others = lib.OPENSSL_sk_new_null();
  lib.OPENSSL_sk_push(others, issuer);
  const isGood = lib.OCSP_basic_verify(basic, others, store, TRUST_OTHERS) === 1;
  lib.OPENSSL_sk_free(others);
  lib.X509_STORE_free(store);
  return isGood;
}

/** X509_V_FLAG_PARTIAL_CHAIN. */
const PARTIAL_CHAIN = 0x80000n;

function untilMs(time: bigint): number {
  const days = new Int32Array(1);
  const seconds = new Int32Array(1);
  const isTime = lib.ASN1_TIME_diff(ffi.getRawPointer(days), ffi.getRawPointer(seconds), 0n, time) === 1;
  return isTime ? days[0]! * DAY_MS + seconds[0]! * 1000 : -1;
}
