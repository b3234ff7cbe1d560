/** Which VMs a pool's selector chooses, and the patterns over VM names that pools use. */
import type { Vm } from '../hypervisor/platform.ts';
import type { PoolSpec } from '../policy/pool.ts';
import { prefixMatcher } from './address-range.ts';

/** A test for VMs that fulfil every criterion of the selector. Engines never do. */
export function memberMatcher(selector: PoolSpec['members']): (vm: Vm) => boolean {
  const names = selector.names?.map(patternMatcher);
  const inPrefix = selector.addresses && prefixMatcher(selector.addresses);
  return (vm) => {
    if (vm.engine !== null) return false;
    if (selector.tags && !selector.tags.every((tag) => vm.tags.includes(tag))) return false;
    if (names && !names.some((fits) => fits(vm.name))) return false;
    if (selector.folders && !selector.folders.some((folder) => isWithin(vm.folder, folder))) return false;
    if (inPrefix && !vm.nics.some((nic) => nic.addresses.some(inPrefix))) return false;
    return true;
  };
}

/** A test for names: `*` stands for any characters, everything else for itself. */
export function patternMatcher(pattern: string): (name: string) => boolean {
  const parts = pattern.split('*');
  if (parts.length === 1) return (name) => name === pattern;
  const [first = '', ...rest] = parts;
  const last = rest.pop() ?? '';
  // By hand rather than by regular expression: many stars must not make the match exponential.
  return (name) => {
    if (!name.startsWith(first)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return name.length - last.length >= at && name.endsWith(last);
  };
}

function isWithin(folder: string, ancestor: string): boolean {
  const trimmed = (path: string) => path.replace(/^\/+|\/+$/g, '');
  const inner = trimmed(folder);
  const outer = trimmed(ancestor);
  return outer === '' || inner === outer || inner.startsWith(`${outer}/`);
}
