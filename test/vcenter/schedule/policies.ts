/** The policies of a schedule: one service on one pool, in the order in which they are applied. */
import { CLOUD, SHADOW_VLANS } from './site.ts';

export interface NamedPolicy {
  kind: string;
  name: string;
  spec: object;
}

export function policiesOf(isEnabled: boolean): NamedPolicy[] {
  return [
    {
      kind: 'cloud',
      name: CLOUD,
      spec: {
        platform: 'vcenter',
        address: 'https://127.0.0.1',
        credentials: '/nowhere',
        thumbprint: '00'.repeat(32),
        managementNetwork: 'mgmt',
        ova: '/nowhere.ova',
        shadowVlans: SHADOW_VLANS,
      },
    },
    {
      kind: 'engine-group',
      name: 'edge',
      spec: {
        cloud: CLOUD,
        dataAddresses: [{ prefix: '10.77.0.0/24', first: '10.77.0.201', last: '10.77.0.230' }],
      },
    },
    {
      kind: 'pool',
      name: 'shop',
      spec: { cloud: CLOUD, members: { tags: ['app=shop'] }, port: 8080 },
    },
    {
      kind: 'virtual-service',
      name: 'web',
      spec: {
        engineGroup: 'edge',
        isEnabled,
        tiers: [{ name: 'shop', addresses: ['10.77.0.101'], port: 80, pool: 'shop' }],
      },
    },
  ];
}
