/** `weft lab status`: hosts, switches, VMs, where each NIC is, and the faults. */
import type { Command } from 'commander';
import { readLabStatus } from '../lab/control.ts';
import type { LabStatus } from '../lab/world/status.ts';
import { examples, labOption } from './lab-option.ts';
import { withLab } from './lab-session.ts';
import type { Terminal } from './terminal.ts';
import { outputOption, print, type VerbOptions } from './verb.ts';

/** Adds the verb. */
export function registerLabStatus(lab: Command, terminal: Terminal): void {
  lab
    .command('status')
    .description('show hosts, segments, VMs, power, where each NIC is, and the injected faults')
    .addOption(labOption())
    .addOption(outputOption())
    .addHelpText('after', examples('weft lab status', 'weft lab status -o json'))
    .action(async (options: VerbOptions & { lab: string }) => {
      const status = await withLab(options.lab, (session, signal) => readLabStatus(session, signal));
      await print(terminal, options, status, drawLabStatus);
    });
}

/** The status as lines of text. */
export function drawLabStatus(status: LabStatus): string {
  const { gateway } = status;
  const target = gateway.target
    ? `leads to ${gateway.target.host}:${gateway.target.port}`
    : 'leads nowhere yet';
  const lines = [
    `lab ${status.lab}: daemon pid ${status.pid}, files in ${status.runDir}`,
    `gateway ${gateway.address}:${gateway.port} ${target}`,
    ...(status.vcenter
      ? [
          `vcenter ${status.vcenter.url}/sdk, user ${status.vcenter.user}, password ${status.vcenter.password}`,
          `        thumbprint ${status.vcenter.thumbprintSha256}`,
        ]
      : []),
    `client ${status.client.addresses.slice(0, 2).join(', ')} and ${status.client.addresses.length - 2} more in ${status.client.namespace}`,
    ...(status.network === 'routed'
      ? ['network routed: h3 is behind a router, in a network of its own']
      : []),
    '',
  ];
  for (const host of status.hosts) {
    const maintenance =
      host.maintenance && (host.maintenance.state === 'in' ? 'in maintenance' : 'entering maintenance');
    const state = host.hasPower ? maintenance : 'no power';
    const waits = host.maintenance?.waitsFor.map(({ vm, reason }) => `${vm} (${reason})`).join(', ');
    lines.push(
      `host ${host.id} (${[...host.uplinkPath].reverse().join(' < ')})${state ? `, ${state}` : ''}${waits ? `, waits for ${waits}` : ''}`,
    );
    for (const segment of host.segments) {
      const role = segment.shadows ? `shadows ${segment.shadows}` : segment.role;
      lines.push(`  ${segment.name.padEnd(16)}${role.padEnd(18)}${segment.ports.join(', ') || '-'}`);
    }
  }
  lines.push('');
  const rows = [
    ['VM', 'ID', 'HOST', 'POWER', 'PID', 'NICS'],
    ...status.vms.map((vm) => [
      vm.name,
      vm.id,
      vm.host,
      vm.isHung ? 'hangs' : vm.power,
      vm.pid === null ? '-' : String(vm.pid),
      vm.nics
        .map(
          (nic) => `${nic.id}@${nic.segment}${nic.addresses.length > 0 ? ` ${nic.addresses.join(',')}` : ''}`,
        )
        .join('  '),
    ]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  lines.push(
    ...rows.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    ),
  );
  lines.push('', ...drawFaults(status.faults));
  return lines.join('\n');
}

/** The injected faults, a line each. */
export function drawFaults(faults: LabStatus['faults']): string[] {
  if (faults.length === 0) return ['no faults'];
  return faults.map((fault) => `${fault.id}: ${fault.description}`);
}
