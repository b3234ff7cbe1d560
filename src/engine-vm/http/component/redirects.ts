/** The component `redirects`: answers requests by sending the client elsewhere. Found as routes are, by hash. */
import type { HttpService } from '../../../policy/http-service.ts';
import { ANSWERED, type HttpComponent } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import { line } from '../head-writer.ts';
import { refusal } from '../refusals.ts';
import { Router } from '../router.ts';

const HOST_MISSING = refusal('host-missing');
const SLASH = 47;
const PART = /\{(host|path|query)\}/g;

export class Redirects implements HttpComponent {
  readonly type = 'redirects';
  readonly #redirects: HttpService['redirects'];
  readonly #router: Router;
  #redirected = 0;

  private constructor(redirects: HttpService['redirects'], router: Router) {
    this.#redirects = redirects;
    this.#router = router;
  }

  /** Null where the service has none. */
  static of({ redirects }: HttpService): Redirects | null {
    const names = redirects.map((_, n) => String(n));
    const router = Router.of(
      redirects.map((one, n) => ({ ...one, pool: names[n]! })),
      names,
    );
    return router === null ? null : new Redirects(redirects, router);
  }

  onRequest(exchange: Exchange): number {
    const { request } = exchange;
    // `OPTIONS *` asks of the server, not of a path that could be elsewhere.
    if (request.bytes[request.targetAt] !== SLASH) return 0;
    const index = this.#router.choose(request);
    if (index < 0) return 0;
    const redirect = this.#redirects[index]!;
    const { hostIndex, target } = request;
    if (hostIndex < 0 && redirect.to.includes('{host}')) return HOST_MISSING;
    const mark = target.indexOf('?');
    const parts: Record<string, string> = {
      host:
        hostIndex < 0
          ? ''
          : request.text(request.valueAt[hostIndex]!, request.valueEnd[hostIndex]!).replace(/:\d*$/, ''),
      path: mark < 0 ? target : target.slice(0, mark),
      query: mark < 0 ? '' : target.slice(mark),
    };
    const location = redirect.to.replaceAll(PART, (_, part: string) => parts[part]!);
    this.#redirected++;
    exchange.answer(redirect.status, 'see Location', [line(`Location: ${location}\r\n`)]);
    return ANSWERED;
  }

  counters(): Record<string, number> {
    return { redirected: this.#redirected };
  }
}
