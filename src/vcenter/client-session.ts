/**
 * A user of the vSphere Client, by a session that is cloned from his: who he is, and what he may do. The token of his
 * session goes to the pinned vCenter and nowhere else, and is kept nowhere.
 */
import { isWeftError, WeftError } from '../policy/errors.ts';
import { type Log, VcenterSession } from './session.ts';
import { faultName } from './vim/faults.ts';
import type { MoRef } from './vim/schema.ts';

export interface ClientSessionOptions {
  /** The vCenter of a cloud, as its policy names and pins it. */
  address: string;
  thumbprint: string;
  /** Its instance UUID. */
  guid: string;
  /** The token of the user's session, as `getSessionInfo` of the vSphere Client SDK gives it. */
  token: string;
  log?: Log;
}

export interface ClientSession {
  /** For example `administrator@vsphere.local`. */
  user: string;
  /** Which of the privileges he has on an object, or on the root folder where none is named. */
  granted(privileges: readonly string[], object: MoRef | null, signal: AbortSignal): Promise<Set<string>>;
  /** Ends the clone; the user's own session goes on. */
  close(): Promise<void>;
}

/** The privilege that the extension registers: without it pages of the vSphere Client only show. */
export const OPERATE_PRIVILEGE = 'Weft.Operate';

/** Clones the session. Throws ERR_UNAUTHENTICATED where vCenter does not know the token or its ticket any more. */
export async function openClientSession(
  options: ClientSessionOptions,
  signal: AbortSignal,
): Promise<ClientSession> {
  const { address, thumbprint, guid, token, log } = options;
  const session = new VcenterSession({
    address,
    thumbprint,
    user: '',
    password: () => '',
    ticket: (exchange) => cloneTicket(exchange, guid, token),
    ...(log ? { log } : {}),
  });
  try {
    await session.connect(signal);
    return {
      user: session.current.userName,
      granted: (privileges, object, ended) =>
        granted(session, privileges, object, ended).catch((error: unknown) => {
          throw unknownTicket(error);
        }),
      close: () => session.close(),
    };
  } catch (error) {
    await session.close();
    throw unknownTicket(error);
  }
}

/** The instance UUID of a vCenter, which it tells anybody; pinned all the same. */
export async function readGuid(
  options: { address: string; thumbprint: string },
  signal: AbortSignal,
): Promise<string> {
  const session = new VcenterSession({ ...options, user: '', password: () => '' });
  try {
    return (await session.readContent(signal)).about.instanceUuid?.toLowerCase() ?? '';
  } finally {
    await session.close();
  }
}

/** A login by a ticket that vCenter refuses is no matter of user and password. */
function unknownTicket(error: unknown): unknown {
  if (faultName(error) !== 'InvalidLogin') return error;
  return new WeftError(
    'ERR_UNAUTHENTICATED',
    'vCenter does not take the ticket for the session of the vSphere Client (any more): try again, or log in there again',
    { cause: error },
  );
}

type Exchange = (request: {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
}) => Promise<{ status: number; text: string }>;

async function cloneTicket(exchange: Exchange, guid: string, token: string): Promise<string> {
  const { status, text } = await exchange({
    method: 'POST',
    path: '/api/ui/vcenter/session/clone-ticket',
    headers: {
      'vmware-api-session-id': token,
      'Content-Type': 'application/json',
      Accept: 'application/json',
    },
    body: JSON.stringify({ vc_guid: guid }),
  });
  if (status === 401 || status === 403) {
    throw new WeftError(
      'ERR_UNAUTHENTICATED',
      'vCenter does not know the session of the vSphere Client: log in there again',
    );
  }
  let ticket: unknown;
  try {
    ticket = (JSON.parse(text) as { session_clone_ticket?: unknown }).session_clone_ticket;
  } catch {
    // Said below.
  }
  if (status >= 300 || typeof ticket !== 'string' || ticket === '') {
    throw new WeftError(
      'ERR_HYPERVISOR_REFUSED',
      `vCenter gave no ticket for the session of the vSphere Client (HTTP status ${status}): is it older than 6.7?`,
    );
  }
  return ticket;
}

async function granted(
  session: VcenterSession,
  privileges: readonly string[],
  object: MoRef | null,
  signal: AbortSignal,
): Promise<Set<string>> {
  const { authorizationManager, rootFolder } = await session.connect(signal);
  if (!authorizationManager) return new Set();
  const ask = async (privId: readonly string[]): Promise<string[]> => {
    try {
      const answer = await session.call(
        authorizationManager,
        'HasPrivilegeOnEntities',
        { entity: [object ?? rootFolder], sessionId: session.current.key, privId: [...privId] },
        signal,
      );
      return (answer ?? []).flatMap(({ privAvailability }) =>
        privAvailability.filter(({ isGranted }) => isGranted).map(({ privId: id }) => id),
      );
    } catch (error) {
      // An object that he may not see is not there for him; a privilege that nobody registered is nobody's.
      if (isWeftError(error, 'ERR_NOT_FOUND') || isWeftError(error, 'ERR_HYPERVISOR_REFUSED')) return [];
      throw error;
    }
  };
  // One by one: an unknown privilege would fail the others with it.
  return new Set((await Promise.all(privileges.map((one) => ask([one])))).flat());
}
