/** A VM's services: which virtual services and tiers it is a member of, its health, its path, and why or why not. */
import type { VmView } from '../../policy/answers.ts';
import { badge, el, facts, notice, number, table } from './dom.ts';
import { type Page, start } from './shell.ts';

start(async (page) => {
  const { vm } = (await page.ask(
    `vm?id=${encodeURIComponent(page.id)}&cloud=${encodeURIComponent(page.cloud)}`,
  )) as {
    vm: VmView;
  };
  return page.view === 'card' ? card(vm) : full(vm, page);
});

function card(vm: VmView): Node[] {
  if (vm.ownEngine !== null) return [el('p', '', 'Service engine ', el('strong', '', vm.ownEngine))];
  if (vm.services.length === 0) return [el('p', 'none', 'Member of no virtual service'), ...path(vm)];
  const list = el('ul', 'plain');
  for (const one of vm.services) {
    list.append(
      el(
        'li',
        '',
        el('strong', '', one.service),
        ` ${one.tier} `,
        badge(one.health),
        ` ${number(one.connections)} connections`,
      ),
    );
  }
  return [list, ...path(vm)];
}

function path(vm: VmView): Node[] {
  return vm.path.map((nic) => el('p', 'small', nic.why));
}

function full(vm: VmView, page: Page): Node[] {
  const content: Node[] = page.view === 'modal' ? [] : [el('h1', '', vm.name)];
  if (vm.ownEngine !== null)
    content.push(
      notice('info', `This VM is the service engine ${vm.ownEngine}; it serves the VMs of host ${vm.host}.`),
    );
  const troubled = vm.services.filter(
    ({ state, isEnabled }) => isEnabled && state !== 'serving' && state !== 'observing',
  );
  for (const one of troubled)
    content.push(notice('warn', `Virtual service ${one.service} is ${one.state}: ${one.message}`));
  content.push(
    table(
      'Services',
      ['Virtual service', 'Tier', 'Addresses', 'Health', 'Connections', 'In line', 'Why'],
      vm.services.map((one) => [
        one.service,
        `${one.tier} (pool ${one.pool})`,
        `${one.addresses.join(', ')} port ${one.port}`,
        badge(one.health),
        number(one.connections),
        one.isIntercepted ? 'yes' : 'no',
        one.reason,
      ]),
      'It is a member of no virtual service.',
    ),
    table(
      'Path',
      ['NIC', 'Network', 'Addresses', 'Engine', 'Why'],
      vm.path.map((nic) => [
        el('span', '', nic.nic, el('br'), el('span', 'small', nic.mac)),
        nic.segment,
        nic.addresses.join(', ') || '-',
        nic.engine ?? '-',
        nic.why,
      ]),
      'It has no NIC that Weft knows of.',
    ),
  );
  if (vm.others.length > 0) {
    content.push(
      table(
        'Not a member of',
        ['Virtual service', 'Tier', 'Why not'],
        vm.others.map((one) => [one.service, `${one.tier} (pool ${one.pool})`, one.why]),
        '',
      ),
    );
  }
  if (page.view === 'full')
    content.push(facts(['Host', vm.host], ['Power', badge(vm.power)], ['Cloud', vm.cloud]));
  return content;
}
