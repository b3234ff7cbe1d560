/** The lab fulfils the platform contract. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { healFault, injectFault, killVm } from '../../src/lab/control.ts';
import { openLab } from '../../src/lab/index.ts';
import type { PlatformMethod } from '../../src/lab/world/faults.ts';
import { labPaths } from '../../src/lab/world/names.ts';
import { describePlatform } from '../contract/platform.ts';
import { requireRootOrSkip, startLab } from './lab-under-test.ts';

const never = new AbortController().signal;

describePlatform('lab', async (context) => {
  requireRootOrSkip(context);
  const lab = await startLab('p');
  const socket = labPaths(lab.lab).socket;
  return {
    platform: openLab({ socket }),
    hosts: ['h1', 'h2'],
    production: 'prod',
    management: 'mgmt',
    applicationVm: (await lab.status()).vms.find((vm) => vm.name === 'app1')!.id,
    async failNext(method, how) {
      const isReplyLost = how === 'reply-lost';
      await injectFault(
        lab.session,
        { kind: 'fail', method: method as PlatformMethod, count: 1, isReplyLost },
        never,
      );
    },
    async slow(method, delayMs) {
      await injectFault(lab.session, { kind: 'slow', method: method as PlatformMethod, delayMs }, never);
    },
    async heal() {
      await healFault(lab.session, null, never);
    },
    async told(vm) {
      return JSON.parse(readFileSync(join(labPaths(lab.lab).vms, vm, 'engine.json'), 'utf8'));
    },
    crash: (vm) => killVm(lab.session, vm, never),
    unreachable: () => openLab({ socket: `${socket}.nobody` }),
    stop: () => lab.stop(),
  };
});
