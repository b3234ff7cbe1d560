/** The REST API as functions: what every verb that asks or changes something calls. */
import type { Readable } from 'node:stream';
import axios, { type AxiosInstance, isAxiosError } from 'axios';
import type {
  Adoption,
  ApplyResult,
  ConsoleAddress,
  Explanation,
  FirewallView,
  FlowsAnswer,
  HostExplanation,
  MembershipExplanation,
  PurgeAnswer,
  StepSummary,
  SystemStatus,
  TakeOver,
  Trace,
} from '../policy/answers.ts';
import { ERROR_CODES, type ErrorCode, type Problem, WeftError } from '../policy/errors.ts';
import type { PolicyObject } from '../policy/kind.ts';
import type { ServiceFiguresAnswer } from '../policy/service-figures.ts';
import type { Connection } from './connection.ts';

/** A document to apply, or an object to delete. */
export type WantedChange =
  | { kind: string; name: string; spec: unknown; revision?: number; where?: string }
  | { kind: string; name: string; delete: true };

export interface TraceRequest {
  service: string;
  from: string;
  fromPort?: number;
  to?: string;
  port?: number;
  engine?: string;
}

/** A capture under way. */
export interface RunningCapture {
  file: Readable;
  /** Lets it end: the rest of the file follows. */
  end(): Promise<void>;
}

/** The largest answer that is read. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** Speaks to one controller. Every method throws the API's error, or ERR_UNREACHABLE. */
export class ControllerClient {
  /** The lab whose controller this is, where it was found by the name of the lab. */
  readonly lab: string | undefined;
  readonly #http: AxiosInstance;
  readonly #url: string;

  constructor({ url, token, lab }: Connection, timeoutMs = 60_000) {
    this.lab = lab;
    this.#url = url;
    this.#http = axios.create({
      baseURL: url,
      timeout: timeoutMs,
      headers: { authorization: `Bearer ${token}`, accept: 'application/json' },
      // The token goes to the named controller and nowhere else.
      maxRedirects: 0,
      proxy: false,
      maxContentLength: MAX_ANSWER_BYTES,
      responseType: 'text',
      transformResponse: (text: unknown) => text,
      validateStatus: () => true,
    });
  }

  async kinds(): Promise<string[]> {
    const { kinds } = await this.#call<{ kinds: { name: string }[] }>('get', '/api/v1/spec');
    return kinds.map(({ name }) => name);
  }

  async list(kind: string): Promise<PolicyObject[]> {
    return (await this.#call<{ items: PolicyObject[] }>('get', `/api/v1/${segment(kind)}`)).items;
  }

  get(kind: string, name: string): Promise<PolicyObject> {
    return this.#call('get', `/api/v1/${segment(kind)}/${segment(name)}`);
  }

  async delete(kind: string, name: string): Promise<void> {
    await this.#call('delete', `/api/v1/${segment(kind)}/${segment(name)}`);
  }

  /** Makes all changes or none; with `isDryRun` only checks them. */
  async apply(changes: readonly WantedChange[], isDryRun = false): Promise<ApplyResult[]> {
    const url = `/api/v1/apply${isDryRun ? '?dryRun=true' : ''}`;
    return (await this.#change<{ results: ApplyResult[] }>(url, changes)).results;
  }

  /** The steps that the changes would cause; without changes, those still to be done. */
  async plan(changes: readonly WantedChange[]): Promise<StepSummary[]> {
    return (await this.#change<{ steps: StepSummary[] }>('/api/v1/plan', changes)).steps;
  }

  explain(service: string, from?: string): Promise<Explanation[]> {
    const query = from === undefined ? '' : `?from=${encodeURIComponent(from)}`;
    return this.#call('get', `/api/v1/explain/${segment(service)}${query}`);
  }

  explainPool(pool: string, vm?: string): Promise<MembershipExplanation> {
    const query = vm === undefined ? '' : `?vm=${encodeURIComponent(vm)}`;
    return this.#call('get', `/api/v1/explain/pool/${segment(pool)}${query}`);
  }

  explainHost(host: string): Promise<HostExplanation[]> {
    return this.#call('get', `/api/v1/explain/host/${segment(host)}`);
  }

  /** `log`: the most entries of the log, as typed. */
  firewall(policy: string, log: string): Promise<FirewallView> {
    return this.#call('get', `/api/v1/firewall/${segment(policy)}?log=${encodeURIComponent(log)}`);
  }

  trace(request: TraceRequest): Promise<Trace> {
    return this.#call('post', '/api/v1/trace', request);
  }

  /** The flows that fit; of `request` only what is set. */
  flows(request: Record<string, string>): Promise<FlowsAnswer> {
    return this.#call('get', `/api/v1/flows?${new URLSearchParams(request)}`);
  }

  /** What the engines that proxy a service have done for it, with paths and clients. */
  serviceFigures(service: string): Promise<ServiceFiguresAnswer> {
    return this.#call('get', `/api/v1/figures/${segment(service)}?names=true`);
  }

  /** Takes stored responses out of the caches of all engines. */
  purge(service: string, urls: readonly string[]): Promise<PurgeAnswer> {
    return this.#call('post', `/api/v1/purge/${segment(service)}`, { urls });
  }

  /** Captures a service: a pcapng file that grows, and the way to end it in good order. */
  async capture(service: string, query: Record<string, string>): Promise<RunningCapture> {
    const url = `/api/v1/capture/${segment(service)}`;
    const answer = await this.#http
      .get<Readable>(`${url}?${new URLSearchParams(query)}`, {
        responseType: 'stream',
        headers: { accept: 'application/x-pcapng, application/json' },
        timeout: 0,
        maxContentLength: Number.POSITIVE_INFINITY,
      })
      .catch((cause: unknown) => {
        throw this.#unreachable(cause);
      });
    const { status, data, headers } = answer;
    if (status !== 200) {
      const parts: Buffer[] = [];
      for await (const part of data) parts.push(part as Buffer);
      throw this.#failure(status, parse(Buffer.concat(parts).toString('utf8')));
    }
    const id = String(headers['weft-capture']);
    return {
      file: data,
      end: async () => {
        await this.#call('delete', `${url}/${segment(id)}`);
      },
    };
  }

  /** Makes a cloud that controller's; whoever drives it lets go first. */
  takeOver(cloud: string): Promise<TakeOver> {
    return this.#call('post', `/api/v1/ownership/${segment(cloud)}`, {});
  }

  /** What an earlier controller left in a cloud, and what adopting it would do. */
  adoption(cloud: string): Promise<Adoption> {
    return this.#call('get', `/api/v1/adoption/${segment(cloud)}`);
  }

  /** Adopts it, where it is still what bears the fingerprint. */
  adopt(cloud: string, fingerprint: string): Promise<Adoption> {
    return this.#call('post', `/api/v1/adoption/${segment(cloud)}`, { fingerprint });
  }

  /** Where the web console is. Throws ERR_NOT_FOUND where the controller serves none. */
  console(): Promise<ConsoleAddress> {
    return this.#call('get', '/api/v1/console');
  }

  /** The whole store, private key included. */
  backup(): Promise<unknown> {
    return this.#call('get', '/api/v1/backup');
  }

  status(): Promise<SystemStatus> {
    return this.#call('get', '/api/v1/status');
  }

  /** Problems in the answer name a document by its index; here they get its file and line. */
  async #change<Answer>(url: string, changes: readonly WantedChange[]): Promise<Answer> {
    const documents = changes.map((change) => {
      const { where: _, ...document } = { where: undefined, ...change };
      return document;
    });
    try {
      return await this.#call<Answer>('post', url, { documents });
    } catch (error) {
      if (!(error instanceof WeftError) || error.problems.length === 0) throw error;
      const problems = error.problems.map((problem) => {
        const where = placeOf(problem, changes);
        return where === undefined ? problem : { ...problem, where };
      });
      throw new WeftError(error.code, error.message, { cause: error, problems });
    }
  }

  async #call<Answer>(method: 'get' | 'post' | 'delete', url: string, data?: unknown): Promise<Answer> {
    let status: number;
    let text: string;
    try {
      ({ status, data: text } = await this.#http.request<string>({
        method,
        url,
        ...(data === undefined ? {} : { data }),
      }));
    } catch (cause) {
      throw this.#unreachable(cause);
    }
    const body = parse(text);
    if (status >= 200 && status < 300 && (status === 204 || body !== undefined)) return body as Answer;
    throw this.#failure(status, body);
  }

  #unreachable(cause: unknown): WeftError {
    const reason = isAxiosError(cause) ? (cause.code ?? cause.message) : String(cause);
    return new WeftError(
      'ERR_UNREACHABLE',
      `the controller at ${this.#url} does not answer (${reason}): is it running, and is the address right?`,
      { cause },
    );
  }

  /** The error that an answer is. */
  #failure(status: number, body: unknown): WeftError {
    const { code, message, problems } = (body ?? {}) as {
      code?: unknown;
      message?: unknown;
      problems?: unknown;
    };
    if (typeof code !== 'string' || !Object.hasOwn(ERROR_CODES, code)) {
      return new WeftError(
        'ERR_UNREACHABLE',
        `${this.#url} answered with status ${status}, but not as a Weft controller does: is the address right?`,
      );
    }
    return new WeftError(code as ErrorCode, String(message), {
      problems: Array.isArray(problems) ? (problems as Problem[]) : [],
    });
  }
}

function placeOf({ path, where }: Problem, changes: readonly WantedChange[]): string | undefined {
  const index = /^\$\[(\d+)\]/.exec(path)?.[1];
  const change =
    index === undefined
      ? changes.find(({ kind, name }) => where === `${kind} "${name}"`)
      : changes[Number(index)];
  return change && 'where' in change && change.where !== undefined ? change.where : where;
}

function segment(text: string): string {
  // A name that is empty or made of dots would change the path it is put into.
  if (text === '' || /^\.+$/.test(text)) {
    throw new WeftError('ERR_USAGE', `${JSON.stringify(text)} is not a name`);
  }
  return encodeURIComponent(text);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
