/** Members that answer with errors in a row are left out for a while, but never too many of them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ProxySite, request, settingsOf } from './proxy-site.ts';

describe('ejection', () => {
  const got = [0, 0];
  let bad = 500;
  const servers = [0, 1].map((n) =>
    createServer((_, response) => {
      got[n]!++;
      response.writeHead(n === 0 ? bad : 200).end();
    }),
  );
  let ports: number[];
  let site: ProxySite;
  const ejection = { consecutiveErrors: 3, pauseMs: 300 };

  before(async () => {
    ports = await Promise.all(
      servers.map(async (server) => {
        await once(server.listen(0, '127.0.0.1'), 'listening');
        return (server.address() as AddressInfo).port;
      }),
    );
    site = await ProxySite.start(ports, { ejection });
  });
  after(async () => {
    await site.stop();
    for (const server of servers) server.close();
  });

  const ask = async (count: number): Promise<number[]> => {
    got.fill(0);
    for (let n = 0; n < count; n++) await site.talk(request('GET /'));
    return [...got];
  };
  const ejections = async (): Promise<number> => (await site.workers.figures())[0]!.ejections;

  it('leaves out who errs three times in a row, and takes it back', async () => {
    assert.deepEqual(await ask(12), [3, 9]);
    assert.equal(await ejections(), 1);
    bad = 200;
    await new Promise((resolve) => setTimeout(resolve, 350));
    assert.deepEqual(await ask(12), [6, 6]);
    assert.equal(await ejections(), 1);
  });

  it('leaves out nobody where that would be more than the share', async () => {
    bad = 500;
    await site.workers.reload(settingsOf(site.port, ports, { ejection: { ...ejection, maxPercent: 49 } }));
    assert.deepEqual(await ask(12), [6, 6]);
    assert.equal(await ejections(), 1);
  });
});
