/** vCenter's faults as errors of Weft: stable codes for callers, the vendor's name for who must tell them apart. */
import { type ErrorCode, WeftError } from '../../policy/errors.ts';
import type { Fault } from './decode.ts';

/** What vCenter answered; the `cause` of the WeftError that callers get. */
export class VimFault extends Error {
  /** The vim25 type, for example `ConcurrentAccess`. */
  readonly fault: string;
  /** The fields of the fault that the table lists. */
  readonly detail: Readonly<Record<string, unknown>>;

  constructor(fault: Fault) {
    super(fault.message || fault.name);
    this.name = 'VimFault';
    this.fault = fault.name;
    this.detail = fault.detail;
  }
}

/** The vim25 type of the fault behind an error, or null where no vCenter fault is behind it. */
export function faultName(error: unknown): string | null {
  const cause = error instanceof WeftError ? error.cause : error;
  return cause instanceof VimFault ? cause.fault : null;
}

const CODES: Record<string, ErrorCode> = {
  ManagedObjectNotFound: 'ERR_NOT_FOUND',
  NotFound: 'ERR_NOT_FOUND',
  NotSupported: 'ERR_HYPERVISOR_UNSUPPORTED',
  NotImplemented: 'ERR_HYPERVISOR_UNSUPPORTED',
  MethodNotFound: 'ERR_HYPERVISOR_UNSUPPORTED',
};

/** `doing` completes "vCenter refused": for example `ReconfigVM_Task on vm-12`. */
export function errorOfFault(fault: Fault, doing: string): WeftError {
  return new WeftError(
    CODES[fault.name] ?? 'ERR_HYPERVISOR_REFUSED',
    `vCenter refused ${doing}: ${explain(fault)}`,
    { cause: new VimFault(fault) },
  );
}

function explain({ name, message, detail }: Fault): string {
  const said = message && message !== name ? `${name} (${printable(message)})` : name;
  switch (name) {
    case 'InvalidLogin':
      return `${said}; check user and password in the cloud's credentials file`;
    case 'NoPermission':
      return `${said}; the user lacks the privilege ${printable(String(detail.privilegeId ?? 'it names'))}`;
    case 'InvalidProperty':
    case 'InvalidName':
    case 'DuplicateName':
      return `${said}: "${printable(String(detail.name ?? ''))}"`;
    case 'InvalidArgument':
      return detail.invalidProperty === undefined
        ? said
        : `${said}: ${printable(String(detail.invalidProperty))}`;
    case 'ResourceInUse':
    case 'ConcurrentAccess':
      return `${said}; somebody else changes the object at the same time, try again`;
    default:
      return said;
  }
}

/** Text of a stranger, fit for one line of a log or terminal. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ').slice(0, 500);
}
