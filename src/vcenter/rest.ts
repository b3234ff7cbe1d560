/**
 * vCenter's REST services: tagging, content libraries, OVF deployment. They have a session of their own, and two
 * dialects: newer vCenters have them below `/api`, older ones below `/rest`, where arguments are named, answers are
 * wrapped in `value`, ids are marked `id:` and maps are lists.
 */
import { WeftError } from '../policy/errors.ts';
import type { VcenterSession } from './session.ts';

export interface RestCall {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Below `/api`, for example `/cis/tagging/tag`. */
  service: string;
  id?: string;
  action?: string;
  query?: Record<string, string>;
  body?: object;
  /** Name of the argument that the body is, in the older dialect. */
  argument?: string;
  /** Where the call may take longer than others. */
  deadlineMs?: number;
}

interface Dialect {
  isOld: boolean;
  session: string;
}

const DIALECTS: readonly Dialect[] = [
  { isOld: false, session: '/api/session' },
  { isOld: true, session: '/rest/com/vmware/cis/session' },
];
/** Services that came after the older dialect had its prefix. */
const PLAIN = /^\/vcenter\/vm-template\//;

export class RestClient {
  readonly #session: VcenterSession;
  #dialect: Dialect | null = null;
  #token = '';

  constructor(session: VcenterSession) {
    this.#session = session;
  }

  /** Whether this vCenter speaks the older dialect. Logs in unless that is done. */
  async isOld(signal: AbortSignal): Promise<boolean> {
    return (await this.#spoken(signal)).isOld;
  }

  /** The header that authorises requests beside calls, such as uploads. */
  async authorisation(signal: AbortSignal): Promise<Record<string, string>> {
    await this.#spoken(signal);
    return { 'vmware-api-session-id': this.#token };
  }

  /**
   * One call; answers what is in it, undefined for nothing. Throws ERR_NOT_FOUND, ERR_HYPERVISOR_REFUSED with vCenter's
   * reason, and as {@link VcenterSession.rest} does. Logs in, and in again where the session has ended.
   */
  async call(call: RestCall, signal: AbortSignal): Promise<unknown> {
    for (let attempt = 0; ; attempt++) {
      const { isOld } = await this.#spoken(signal);
      const token = this.#token;
      const body = call.body && isOld && call.argument ? { [call.argument]: call.body } : call.body;
      const reply = await this.#session.rest(
        {
          method: call.method,
          path: pathOf(call, isOld),
          headers: {
            'vmware-api-session-id': token,
            Accept: 'application/json',
            ...(body ? { 'Content-Type': 'application/json' } : {}),
          },
          ...(body ? { body: JSON.stringify(body) } : {}),
        },
        signal,
        call.deadlineMs,
      );
      if (reply.status === 401 && attempt === 0) {
        if (this.#token === token) this.#dialect = null;
        continue;
      }
      if (reply.status >= 200 && reply.status < 300) return unwrap(reply.text, isOld);
      throw new WeftError(
        codeOf(reply.status),
        `vCenter answered ${call.method} ${call.service}${call.action ? ` (${call.action})` : ''} with HTTP status ${reply.status}${reasonOf(reply.text)}`,
      );
    }
  }

  async #spoken(signal: AbortSignal): Promise<Dialect> {
    this.#dialect ??= await this.#logIn(signal);
    return this.#dialect;
  }

  async #logIn(signal: AbortSignal): Promise<Dialect> {
    const { user, password } = await this.#session.credentials();
    const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
    for (const dialect of DIALECTS) {
      const reply = await this.#session.rest(
        { method: 'POST', path: dialect.session, headers: { Authorization: authorization } },
        signal,
      );
      if (reply.status === 404) continue;
      const token = reply.status < 300 ? unwrap(reply.text, dialect.isOld) : null;
      if (typeof token !== 'string') {
        throw new WeftError(
          codeOf(reply.status),
          `vCenter's REST services refused the login (HTTP status ${reply.status})`,
        );
      }
      this.#token = token;
      return dialect;
    }
    throw new WeftError('ERR_HYPERVISOR_UNSUPPORTED', 'this vCenter has no REST services');
  }
}

function pathOf({ service, id, action, query }: RestCall, isOld: boolean): string {
  const isPlain = PLAIN.test(service);
  const base = isOld ? `/rest${isPlain ? '' : '/com/vmware'}` : '/api';
  const mark = isOld && !isPlain ? 'id:' : '';
  const of = id === undefined ? '' : `/${mark}${encodeURIComponent(id)}`;
  const parameters = new URLSearchParams(query);
  const name = isOld && !isPlain ? '~action' : 'action';
  const asked = [...(action ? [`${name}=${action}`] : []), ...(query ? [parameters.toString()] : [])];
  return `${base}${service}${of}${asked.length > 0 ? `?${asked.join('&')}` : ''}`;
}

/** 503 and its like are what its reverse proxy says while a service starts. */
function codeOf(status: number): 'ERR_NOT_FOUND' | 'ERR_HYPERVISOR_UNREACHABLE' | 'ERR_HYPERVISOR_REFUSED' {
  if (status === 404) return 'ERR_NOT_FOUND';
  return [502, 503, 504].includes(status) ? 'ERR_HYPERVISOR_UNREACHABLE' : 'ERR_HYPERVISOR_REFUSED';
}

/** What vCenter says of it, in either dialect. */
function reasonOf(text: string): string {
  try {
    const { type, error_type, messages, value } = JSON.parse(text) as {
      type?: string;
      error_type?: string;
      messages?: { default_message?: string }[];
      value?: { messages?: { default_message?: string }[] };
    };
    const said = (messages ?? value?.messages ?? []).map((one) => one.default_message ?? '').join(' ');
    const reason = said || error_type || type?.split('.').at(-1) || '';
    return reason === '' ? '' : `: ${reason.slice(0, 500)}`;
  } catch {
    return '';
  }
}

/** The older dialect wraps every answer in `value`; actions answer with nothing. */
function unwrap(text: string, isOld: boolean): unknown {
  if (text.trim() === '') return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new WeftError('ERR_HYPERVISOR_REFUSED', "vCenter's REST services answered with what is no JSON", {
      cause: error,
    });
  }
  const isWrapped = isOld && typeof parsed === 'object' && parsed !== null && 'value' in parsed;
  return isWrapped ? (parsed as { value: unknown }).value : parsed;
}
