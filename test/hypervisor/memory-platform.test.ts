/** The platform in memory fulfils the contract, so that what the controller is tested on behaves like the real ones. */
import { describePlatform } from '../contract/platform.ts';
import { datacenterOf, MemoryDatacenter } from './memory-platform.ts';

describePlatform('memory', async () => {
  const datacenter = new MemoryDatacenter(datacenterOf({ h1: ['app1'], h2: ['app2'] }));
  return {
    platform: datacenter.open(),
    hosts: ['h1', 'h2'],
    production: 'prod',
    management: 'mgmt',
    applicationVm: 'id-app1',
    async failNext(method, how) {
      datacenter.failNext(method, how);
    },
    async slow(method, delayMs) {
      datacenter.slow(method, delayMs);
    },
    async heal() {
      datacenter.heal();
    },
    async told(vm) {
      return datacenter.state.properties[vm]!;
    },
    async halve({ host, name }) {
      datacenter.change(() => {
        datacenter.host(host).segments.find((segment) => segment.name === name)!.isUnfinished = true;
      });
    },
    async crash(vm) {
      datacenter.change(() => {
        datacenter.vm(vm).power = 'off';
      });
    },
    unreachable() {
      const gone = new MemoryDatacenter(datacenterOf({ h1: [] }));
      gone.isReachable = false;
      return gone.open();
    },
    async stop() {},
  };
});
