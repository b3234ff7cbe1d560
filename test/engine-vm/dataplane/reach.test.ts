/** Who is on the link and who is behind a router. */
import assert from 'node:assert/strict';
import { routerTo, routesOf, tunnelTo } from '../../../src/engine-vm/dataplane/reach.ts';

const engine = {
  dataAddresses: ['10.77.0.201/24', 'fd77::201/64'],
  gateways: ['10.77.0.1', 'fd77::1'],
};
const peer = (...dataAddresses: string[]) => ({ dataAddresses });

describe('the reach of an engine', () => {
  it('leads by the router of the family to what is outside of its prefixes', () => {
    assert.equal(routerTo(engine, '10.77.0.9'), null);
    assert.equal(routerTo(engine, '10.78.0.9'), '10.77.0.1');
    assert.equal(routerTo(engine, 'fd78::9'), 'fd77::1');
    assert.equal(
      routerTo({ ...engine, gateways: ['10.77.0.1'] }, 'fd78::9'),
      null,
      'no router of that family',
    );
    assert.equal(routerTo({ dataAddresses: engine.dataAddresses }, '10.78.0.9'), null, 'no router at all');
  });

  it('needs a tunnel to a peer that is on the link with none of its addresses', () => {
    assert.deepEqual(tunnelTo(engine, peer('10.78.0.201/24', 'fd78::201/64')), {
      own: '10.77.0.201',
      peer: '10.78.0.201',
      gateway: '10.77.0.1',
    });
    assert.equal(tunnelTo(engine, peer('10.77.0.202/24', 'fd78::202/64')), null);
    assert.equal(tunnelTo(engine, peer('10.78.0.202/24', 'fd77::202/64')), null);
    assert.equal(tunnelTo(engine, peer('fd78::202/64'))?.own, 'fd77::201');
    assert.equal(tunnelTo(engine, peer()), null);
  });

  it('tells its own stack of the networks of such peers, and of members outside of them', () => {
    const members = [
      { ipv4: '10.78.0.15', ipv6: 'fd79::15' },
      { ipv4: '10.77.0.11', ipv6: null },
    ];
    assert.deepEqual(
      [...routesOf(engine, [peer('10.78.0.201/24', 'fd78::201/64'), peer('10.77.0.202/24')], members)],
      [
        ['10.78.0.0/24', '10.77.0.1'],
        ['fd78::/64', 'fd77::1'],
        ['fd79::15/128', 'fd77::1'],
      ],
    );
  });
});
