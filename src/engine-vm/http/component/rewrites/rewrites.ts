/**
 * The component `rewrites` (`rewrites`): members are asked for another path, query or host than the client asked for, and
 * what they say of themselves is mapped back. Found as routes are, by hash, and held against the target in its one
 * spelling: however a client spells a path, members get what the rewriting makes of the path that rules have judged.
 */
import type { HttpService } from '../../../../policy/http-service.ts';
import { saysHttps } from '../../client-lines.ts';
import type { HttpComponent } from '../../component.ts';
import type { Exchange } from '../../exchange.ts';
import { FIELD } from '../../field-names.ts';
import { JudgedTarget } from '../../judged-target.ts';
import { refusal } from '../../refusals.ts';
import { NO_SETS, Router } from '../../router.ts';
import { type AskedBy, cookieBack, urlBack } from './mapped-back.ts';
import { Rewrite } from './rewrite.ts';

const TOO_LONG = refusal('target-too-long');

export class Rewrites implements HttpComponent {
  readonly type = 'rewrites';
  readonly #rewrites: readonly Rewrite[];
  readonly #router: Router;
  readonly #judged = new JudgedTarget(false);
  readonly #counts = { rewritten: 0, ambiguous: 0, mappedBack: 0 };

  private constructor(rewrites: readonly Rewrite[], router: Router) {
    this.#rewrites = rewrites;
    this.#router = router;
  }

  /** Null where the service has none. */
  static of({ rewrites }: HttpService): Rewrites | null {
    const compiled = rewrites.map((one) => new Rewrite(one));
    const router = Router.of(
      rewrites.map((one, n) => ({
        ...one,
        paths: [...compiled[n]!.paths],
        query: one.query.map((pair) => JudgedTarget.comparedPair(pair, false)),
        pool: '',
      })),
      [],
    );
    return router === null ? null : new Rewrites(compiled, router);
  }

  onRequest(exchange: Exchange): number {
    const { request } = exchange;
    const judged = this.#judged;
    const ambiguous = judged.read(request);
    if (ambiguous !== 0) {
      this.#counts.ambiguous++;
      return ambiguous;
    }
    for (let at = -1; ; ) {
      at = this.#router.find(request, at, judged, NO_SETS);
      if (at < 0) return 0;
      const rewrite = this.#rewrites[at]!;
      const target = exchange.rewriteBy(rewrite);
      if (rewrite.write(target, request, judged)) {
        this.#counts.rewritten++;
        target.keepHost(request);
        if (rewrite.host !== null && request.hostIndex >= 0) request.isDropped[request.hostIndex] = 1;
        return target.isTooLong ? TOO_LONG : 0;
      }
      exchange.target = null;
    }
  }

  onResponse(exchange: Exchange): void {
    const { response, responseLines, target } = exchange;
    if (target?.rewrite.isMappedBack !== true) return;
    let asked: AskedBy | null = null;
    for (let n = 0; n < response.count; n++) {
      const id = response.ids[n]!;
      const isUrl = id === FIELD.location || id === FIELD['content-location'];
      if ((!isUrl && id !== FIELD['set-cookie']) || response.isDropped[n] === 1) continue;
      asked ??= askedBy(exchange, target.clientHost);
      const value = response.text(response.valueAt[n]!, response.valueEnd[n]!);
      const back = (isUrl ? urlBack : cookieBack)(value, target, asked);
      if (back === null) continue;
      this.#counts.mappedBack++;
      response.isDropped[n] = 1;
      const name = response.text(response.nameAt[n]!, response.nameEnd[n]!);
      responseLines.push(Buffer.from(`${name}: ${back}\r\n`, 'latin1'));
    }
  }

  counters(): Record<string, number> {
    return { ...this.#counts };
  }
}

function askedBy({ client, forwardedLines, origin }: Exchange, host: string): AskedBy {
  const isSecure = client.tls != null || saysHttps(forwardedLines);
  return { host, toldHost: origin?.host ?? '', isSecure };
}
