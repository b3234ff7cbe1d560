/** The component `redirects`: answers requests by sending the client elsewhere. Found as routes are, by hash. */
import type { HttpService } from '../../../policy/http-service.ts';
import { ANSWERED, type HttpComponent } from '../component.ts';
import type { Exchange } from '../exchange.ts';
import { LocationTemplate } from '../location-template.ts';
import { refusal } from '../refusals.ts';
import { Router } from '../router.ts';

const HOST_MISSING = refusal('host-missing');
const SLASH = 47;

export class Redirects implements HttpComponent {
  readonly type = 'redirects';
  readonly #redirects: readonly { status: number; location: LocationTemplate }[];
  readonly #router: Router;
  /** Of the answer: the one line, put in anew each time. */
  readonly #fields: Uint8Array[] = [new Uint8Array(0)];
  #redirected = 0;

  private constructor(redirects: HttpService['redirects'], router: Router) {
    this.#redirects = redirects.map(({ status, to }) => ({ status, location: new LocationTemplate(to) }));
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
    const { origin, request } = exchange;
    // `OPTIONS *` asks of the server, not of a path that could be elsewhere.
    if (request.bytes[request.targetAt] !== SLASH) return 0;
    const index = this.#router.choose(request);
    if (index < 0) return 0;
    const { status, location } = this.#redirects[index]!;
    const told = origin === null ? '' : origin.host;
    if (request.hostIndex < 0 && told === '' && location.namesHost) return HOST_MISSING;
    this.#redirected++;
    this.#fields[0] = location.line(request, told);
    exchange.answer(status, 'see Location', this.#fields);
    return ANSWERED;
  }

  counters(): Record<string, number> {
    return { redirected: this.#redirected };
  }
}
