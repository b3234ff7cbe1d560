/**
 * What a proxy says of itself while it runs: `/metrics` for Prometheus, `/figures` for `weft top`. Answers are read only
 * and know no secrets; who may ask is a matter of the address that it listens at.
 */
import { createServer, type Server } from 'node:http';
import { WeftError } from '../policy/errors.ts';
import type { ServiceFigures } from '../policy/service-figures.ts';
import { METRICS_TYPE, metricsText } from '../policy/service-metrics.ts';

export interface ProxyFigures {
  service: string;
  figures: ServiceFigures;
}

/**
 * Listens; `look` asks for the figures of each service, with `names` for paths and clients too. Throws ERR_USAGE where
 * the address cannot be had.
 */
export async function serveMetrics(
  { address, port }: { address: string; port: number },
  look: (names: boolean) => Promise<ProxyFigures[]>,
): Promise<Server> {
  const server = createServer((request, response) => {
    const answer = async (): Promise<[string, string] | null> => {
      if (request.method !== 'GET') return null;
      if (request.url === '/metrics') {
        const all = await look(false);
        const labelled = all.map(({ service, figures }) => ({ labels: { service }, figures }));
        return [METRICS_TYPE, metricsText(labelled)];
      }
      if (request.url === '/figures') return ['application/json', JSON.stringify(await look(true))];
      return null;
    };
    answer()
      .then((found) => {
        if (found === null) response.writeHead(404).end('there are GET /metrics and GET /figures\n');
        else response.writeHead(200, { 'Content-Type': found[0], 'Cache-Control': 'no-store' }).end(found[1]);
      })
      .catch((error: Error) => response.writeHead(503).end(`${error.message}\n`));
  });
  const listening = Promise.withResolvers<void>();
  // The proxy whose place this one takes may have it still.
  server.once('error', listening.reject);
  server.listen({ port, host: address, reusePort: true }, listening.resolve);
  try {
    await listening.promise;
  } catch (cause) {
    throw new WeftError('ERR_USAGE', `--metrics ${address}:${port}: ${(cause as Error).message}`, { cause });
  }
  server.unref();
  return server;
}
