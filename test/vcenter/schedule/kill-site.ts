/**
 * A controller in a process of its own, with a store on disk and scripted engines, in front of a vCenter elsewhere:
 * something to be killed. Ends with status 0 when nothing is left to do.
 *
 *   node kill-site.ts STORE URL USER THUMBPRINT OVA       the password is in WEFT_TEST_PASSWORD
 */

import { startController } from '../../../src/controller/controller.ts';
import type { Vm } from '../../../src/hypervisor/platform.ts';
import { openEmbeddedStore } from '../../../src/state/embedded-store.ts';
import { sealerOf } from '../../../src/state/sealer.ts';
import { openVcenter } from '../../../src/vcenter/index.ts';
import { FakeEngines } from '../../controller/fake-engines.ts';
import { FakeHub } from '../../controller/fake-hub.ts';
import { SHADOW_VLANS } from './site.ts';

const LOOK_MS = 50;
/** Looks in a row that must show nothing left to do. */
const QUIET_LOOKS = 10;

const [file = '', address = '', user = '', thumbprint = '', ova = ''] = process.argv.slice(2);
const never = new AbortController().signal;
const open = () =>
  openVcenter({
    address,
    user,
    password: () => process.env.WEFT_TEST_PASSWORD ?? '',
    thumbprint,
    managementNetwork: 'mgmt',
    uplinkAttribute: 'weft.uplinks',
    rackCategory: 'rack',
    shadowVlans: SHADOW_VLANS,
    engines: { ova, signedBy: null, size: 'small', folder: null, datastore: null, now: Date.now },
  });

const hub = new FakeHub();
const eyes = open();
let vms: readonly Vm[] = [];
const engines = new FakeEngines(
  { vms: () => vms.filter((vm) => vm.engine !== null), switchOff: () => {} },
  hub,
);
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const store = await openEmbeddedStore(file);
const controller = await startController({
  sealer: sealerOf(Buffer.alloc(32, 7)),
  store,
  hub,
  authority: { ca: 'CA', createToken: async (engine) => `token of ${engine}`, revoke: async () => undefined },
  openPlatform: open,
  log: silent,
  hubAdvertise: 'https://192.0.2.1:7443',
  timing: { graceMs: 1000 },
});
for (let quiet = 0; quiet < QUIET_LOOKS; ) {
  vms = (await eyes.inventory(never)).vms;
  engines.step(Date.now());
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  const isForwarding = vms.every((vm) => vm.engine === null || engines.forwards(vm.engine));
  quiet = (await controller.backend.plan([], never)).length === 0 && isForwarding ? quiet + 1 : 0;
}
await controller.close();
await eyes.close();
await store.close();
