/**
 * Who asks: an operator with the controller's token, or a user of a vSphere Client by the token of his session there.
 *
 * The browser names a vCenter by its GUID only. The controller knows the GUIDs of its own clouds and their pinned
 * addresses; an address from the browser is never asked for, let alone used.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { WeftError } from '../policy/errors.ts';

/** An object of a cloud, as the hypervisor manager's own client names it. */
export interface ObjectName {
  type: 'VirtualMachine' | 'HostSystem';
  id: string;
}

/** A user of a cloud's own client, in a session that was cloned from his. */
export interface CloudUser {
  name: string;
  /** The cloud whose client he uses. */
  cloud: string;
  /** Whether he may read (`operate`: change) Weft's things of that object; null stands for all of the cloud. */
  may(what: 'read' | 'operate', object: ObjectName | null, signal: AbortSignal): Promise<boolean>;
  close(): Promise<void>;
}

/**
 * Clones the session. The GUID `only` stands for the vCenter of a page that names none, where there is but one: else
 * ERR_BODY_INVALID. Throws ERR_NOT_FOUND for a GUID that is no cloud's, ERR_UNAUTHENTICATED for a token that is no
 * session's. No message tells who is not known yet what the clouds are.
 */
export type OpenCloudUser = (guid: string, token: string, signal: AbortSignal) => Promise<CloudUser>;

export interface Caller {
  name: string;
  /** The cloud whose client the page stands in; null for an operator, who may do everything everywhere. */
  cloud: string | null;
  may(what: 'read' | 'operate', object: ObjectName | null, signal: AbortSignal): Promise<boolean>;
}

/** How long a cloned session is used for the same caller, and how many there are at once. */
const KEPT_MS = 5 * 60_000;
const MAX_KEPT = 200;

export class Callers {
  readonly #token: Buffer;
  readonly #open: OpenCloudUser;
  readonly #now: () => number;
  readonly #kept = new Map<string, { user: Promise<CloudUser>; since: number }>();

  constructor(options: { token: string; open: OpenCloudUser; now(): number }) {
    this.#token = digest(options.token);
    this.#open = options.open;
    this.#now = options.now;
  }

  /** Throws ERR_UNAUTHENTICATED, ERR_NOT_FOUND for a foreign GUID, or what the cloud answers. */
  async identify(headers: IncomingHttpHeaders, signal: AbortSignal): Promise<Caller> {
    const bearer = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(headers.authorization ?? '')?.[1];
    if (bearer !== undefined) {
      if (!timingSafeEqual(digest(bearer), this.#token)) {
        throw new WeftError('ERR_UNAUTHENTICATED', 'the token is not the one of this controller');
      }
      return { name: 'operator', cloud: null, may: async () => true };
    }
    const token = one(headers['vmware-api-session-id']);
    const guid = one(headers['weft-vcenter-guid'])?.toLowerCase();
    if (!token || token.length > 1024 || !guid || !/^([0-9a-f-]{36}|only)$/.test(guid)) {
      throw new WeftError('ERR_UNAUTHENTICATED', 'the request carries neither a token nor a vSphere session');
    }
    return this.#user(guid, token, signal);
  }

  async close(): Promise<void> {
    const all = [...this.#kept.keys()];
    await Promise.all(all.map((key) => this.#drop(key)));
  }

  async #user(guid: string, token: string, signal: AbortSignal): Promise<CloudUser> {
    this.#sweep();
    const key = digest(`${guid} ${token}`).toString('hex');
    let kept = this.#kept.get(key);
    if (!kept) {
      if (this.#kept.size >= MAX_KEPT) {
        throw new WeftError('ERR_THROTTLED', 'too many users at once: try again in some minutes');
      }
      kept = { user: this.#open(guid, token, signal), since: this.#now() };
      this.#kept.set(key, kept);
      // One that could not be opened is tried again by the next request.
      kept.user.catch(() => this.#kept.delete(key));
    }
    const user = await kept.user;
    return {
      ...user,
      may: async (what, object, ended) => {
        try {
          return await user.may(what, object, ended);
        } catch (error) {
          await this.#drop(key);
          throw error;
        }
      },
    };
  }

  #sweep(): void {
    for (const [key, { since }] of this.#kept) if (this.#now() - since > KEPT_MS) void this.#drop(key);
  }

  async #drop(key: string): Promise<void> {
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    const user = await kept?.user.catch(() => null);
    await user?.close().catch(() => undefined);
  }
}

function one(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
