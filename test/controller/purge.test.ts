/** Purging at all engines: who is asked, and what is said of those that do not answer. */
import assert from 'node:assert/strict';
import type { Desired } from '../../src/controller/desired.ts';
import { purgeEngines } from '../../src/controller/purge.ts';

describe('a purge', () => {
  const engine = (id: string, services: string[]) =>
    [id, { id, hostName: `host of ${id}`, services }] as const;
  const desired = {
    engines: new Map([engine('e1', ['web']), engine('e2', ['web', 'other']), engine('e3', ['other'])]),
  } as unknown as Desired;
  const { signal } = new AbortController();

  it('asks each engine that carries the service, and names those that keep what they have', async () => {
    const asked: unknown[] = [];
    const ask = async (id: string, method: string, question: unknown): Promise<unknown> => {
      asked.push([id, method, question]);
      if (id === 'e2') throw new Error('too late');
      return { purged: 3 };
    };
    const question = { service: 'web', urls: ['*'] };
    assert.deepEqual(await purgeEngines(question, desired, ask, () => true, signal), {
      purged: 3,
      engines: [{ engine: 'e1', host: 'host of e1', purged: 3 }],
      failures: [{ engine: 'e2', message: 'too late' }],
    });
    assert.deepEqual(asked, [
      ['e1', 'purge', question],
      ['e2', 'purge', question],
    ]);
    asked.length = 0;
    const alone = await purgeEngines(question, desired, ask, (id) => id === 'e1', signal);
    assert.deepEqual(alone.failures, [{ engine: 'e2', message: 'is not connected to the controller' }]);
    assert.equal(asked.length, 1);
  });

  it('is refused where no engine carries the service', async () => {
    await assert.rejects(
      purgeEngines(
        { service: 'none', urls: ['*'] },
        desired,
        async () => ({}),
        () => true,
        signal,
      ),
      { code: 'ERR_ENGINE_UNREACHABLE' },
    );
  });
});
