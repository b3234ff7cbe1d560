/**
 * The errors of the control plane: one class, a table of stable codes.
 *
 * Callers match on `code`, never on the message. The message names the object and the remedy; `cause` keeps the
 * original. The data plane does not throw: it drops, with a reason from `engine-vm/drops.ts`.
 * docs/errors.md equals this table, by test.
 */

/** Every code with the HTTP status the REST API answers and the exit code the CLI ends with. */
export const ERROR_CODES = {
  ERR_POLICY_INVALID: {
    status: 400,
    exit: 2,
    meaning: 'A policy object does not match the schema of its kind; the message gives the JSON path.',
  },
  ERR_BODY_INVALID: {
    status: 400,
    exit: 2,
    meaning: 'A file or request body cannot be read as JSON or YAML, or is nested too deeply.',
  },
  ERR_BODY_TOO_LARGE: { status: 413, exit: 2, meaning: 'A request body is larger than the API accepts.' },
  ERR_KIND_UNKNOWN: { status: 404, exit: 2, meaning: 'There is no policy kind of that name.' },
  ERR_NOT_FOUND: { status: 404, exit: 3, meaning: 'The named object does not exist.' },
  ERR_REFERENCE_MISSING: {
    status: 409,
    exit: 2,
    meaning: 'A policy object refers to another one that does not exist.',
  },
  ERR_REFERENCED: {
    status: 409,
    exit: 4,
    meaning: 'The object cannot be deleted, because others refer to it; the message names them.',
  },
  ERR_REVISION_CONFLICT: {
    status: 412,
    exit: 4,
    meaning: 'The object was changed since it was read: read it again and repeat the change.',
  },
  ERR_ADDRESS_IN_USE: {
    status: 409,
    exit: 2,
    meaning: 'Two tiers claim the same address, port and protocol.',
  },
  ERR_UNAUTHENTICATED: { status: 401, exit: 5, meaning: 'The request carries no valid token.' },
  ERR_THROTTLED: {
    status: 429,
    exit: 5,
    meaning: 'Too many refused tokens from this address, or too many open watches: wait, then try again.',
  },
  ERR_FORBIDDEN: { status: 403, exit: 5, meaning: 'The caller is known but may not do this.' },
  ERR_UNREACHABLE: { status: 503, exit: 6, meaning: 'The controller does not answer at its address.' },
  ERR_HYPERVISOR_UNREACHABLE: { status: 503, exit: 6, meaning: 'A cloud does not answer.' },
  ERR_HYPERVISOR_REFUSED: {
    status: 502,
    exit: 1,
    meaning: 'A cloud answered a call with a fault; the message carries its reason.',
  },
  ERR_CLOUD_OWNED: {
    status: 409,
    exit: 4,
    meaning:
      'The cloud is driven by another controller; the message names it, and how to take the cloud over.',
  },
  ERR_HYPERVISOR_UNSUPPORTED: { status: 501, exit: 1, meaning: 'The cloud cannot do what was asked.' },
  ERR_NO_CAPACITY: { status: 409, exit: 1, meaning: 'No host, address or segment is left for an engine.' },
  ERR_IMAGE_INVALID: {
    status: 400,
    exit: 2,
    meaning:
      'An appliance image is not acceptable: damaged, not well formed, or not signed by whom the cloud trusts.',
  },
  ERR_ENGINE_UNREACHABLE: { status: 503, exit: 6, meaning: 'The engine is not connected to the controller.' },
  ERR_ENROLMENT_REFUSED: {
    status: 403,
    exit: 5,
    meaning:
      'The enrolment token is unknown, used, expired or for another engine, or the certificate request is not acceptable.',
  },
  ERR_WRITER_REFUSED: {
    status: 403,
    exit: 1,
    meaning: 'An engine wrote a shared-state key that belongs to another writer.',
  },
  ERR_EPOCH_STALE: {
    status: 409,
    exit: 1,
    meaning: 'A message of an earlier boot of an engine arrived after a later boot was seen.',
  },
  ERR_STORE_CORRUPT: {
    status: 500,
    exit: 1,
    meaning: 'The store file cannot be read; the message says where it was set aside and what to do.',
  },
  ERR_STORE_WRITE: {
    status: 500,
    exit: 1,
    meaning: 'The store could not be written durably (disk full, read-only, I/O error).',
  },
  ERR_STORE_IN_USE: {
    status: 409,
    exit: 1,
    meaning: 'Another live process has the store open; the message names it.',
  },
  ERR_COMPACTED: {
    status: 410,
    exit: 1,
    meaning: 'The watch asked for a revision that the store no longer keeps: list again, then watch.',
  },
  ERR_TIMEOUT: { status: 504, exit: 6, meaning: 'The operation did not finish before its deadline.' },
  ERR_PRIVILEGE: { status: 403, exit: 77, meaning: 'The operation needs root.' },
  ERR_LAB: {
    status: 409,
    exit: 1,
    meaning: 'The lab is not in the state the command needs (not up, already up, no such VM).',
  },
  ERR_KERNEL: {
    status: 500,
    exit: 1,
    meaning: 'A system call failed; the message names the call, the object and errno.',
  },
  ERR_USAGE: { status: 400, exit: 2, meaning: 'The command line is not understood.' },
  ERR_INTERNAL: {
    status: 500,
    exit: 1,
    meaning: 'A defect in Weft: the log has the stack; please report it.',
  },
} as const satisfies Record<string, { status: number; exit: number; meaning: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/** One place in a document that is wrong: `path` is a JSON path such as `$.spec.tiers[0].port`. */
export interface Problem {
  path: string;
  message: string;
  /** The document it stands in: `shop.yaml:12`, or `pool "shop"` where the text is not at hand. */
  where?: string;
}

/** An error a user can act on. */
export class WeftError extends Error {
  readonly code: ErrorCode;
  /** The single places that are wrong, for ERR_POLICY_INVALID and its like. */
  readonly problems: readonly Problem[];

  constructor(
    code: ErrorCode,
    message: string,
    options?: { cause?: unknown; problems?: readonly Problem[] },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'WeftError';
    this.code = code;
    this.problems = options?.problems ?? [];
  }
}

/** True when `error` is a WeftError, of the given code if one is named. */
export function isWeftError(error: unknown, code?: ErrorCode): error is WeftError {
  return error instanceof WeftError && (code === undefined || error.code === code);
}
