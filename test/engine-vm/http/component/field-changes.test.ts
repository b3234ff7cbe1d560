/** Changes of header fields: in the place of others, besides them, and none at all. */
import assert from 'node:assert/strict';
import { ProxySite, request } from '../proxy-site.ts';
import { RecordingOrigin } from '../recording-origin.ts';

describe('changes of fields', () => {
  it('set, add and remove, both ways', async () => {
    const origin = new RecordingOrigin();
    const site = await ProxySite.start([await origin.listen()], {
      requestFields: {
        set: [{ name: 'X-Set', value: 'ours' }],
        add: [{ name: 'X-Add', value: 'ours' }],
        remove: ['X-Gone'],
      },
      responseFields: {
        add: [
          { name: 'X-End', value: '3' },
          { name: 'X-End', value: '4' },
        ],
      },
    });
    const sent = ['x-set: theirs', 'x-add: theirs', 'x-gone: theirs', 'X-Other: theirs'];
    const answer = await site.talk(request('GET /hop', sent));
    await site.stop();
    await origin.close();
    const received = origin
      .take()[0]!
      .fields.filter(([name]) => name.startsWith('x-') && !name.includes('forwarded'));
    assert.deepEqual(received.sort(), [
      ['x-add', 'ours'],
      ['x-add', 'theirs'],
      ['x-other', 'theirs'],
      ['x-set', 'ours'],
    ]);
    assert.deepEqual(
      [...answer.matchAll(/X-End: (\d)/g)].map(([, value]) => value),
      ['2', '3', '4'],
    );
  });
});
