/** What a call or a task fails with: a fault of vim25 with typed detail. */
import { isKindOf } from '../schema/notation.ts';
import type { Struct, Value } from './values.ts';

export class VimFault extends Error {
  /** The type, for example InvalidPowerState. */
  readonly type: string;
  readonly detail: Record<string, Value | undefined>;

  constructor(type: string, message: string, detail: Record<string, Value | undefined> = {}) {
    super(message);
    this.name = 'VimFault';
    this.type = type;
    this.detail = detail;
  }

  /** The fault as data, as `TaskInfo.error` and its like carry it. */
  localized(): Struct {
    return { $type: 'LocalizedMethodFault', fault: this.struct(), localizedMessage: this.message };
  }

  struct(): Struct {
    return { ...this.detail, $type: this.type };
  }
}

/** An argument that cannot be: `property` is its path, for example `spec.deviceChange`. */
export function invalidArgument(property: string, why: string): VimFault {
  return new VimFault('InvalidArgument', `A specified parameter was not correct: ${property}: ${why}`, {
    invalidProperty: property,
  });
}

/** A request that cannot be understood. */
export function invalidRequest(why: string): VimFault {
  return new VimFault('InvalidRequest', why);
}

/** A fault for whatever was thrown: ours as it is, anything else as a system error. */
export function asVimFault(error: unknown): VimFault {
  if (error instanceof VimFault) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new VimFault('SystemError', `A general system error occurred: ${message}`, { reason: message });
}

/** True where the fault is of that type or one derived from it. */
export function isFault(error: unknown, type: string): error is VimFault {
  return error instanceof VimFault && isKindOf(error.type, type);
}
