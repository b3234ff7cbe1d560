/**
 * A configuration of BIRD 2 that tells routers of service addresses and takes nothing of them: the engine's own routes
 * stay as they are. Pure. https://bird.network.cz/?get_doc&v=20&f=bird.html
 */
import { isIP } from 'node:net';
import type { Speech } from './speech.ts';

/** The interface by which the engine's own stack reaches the production network. */
const INTERFACE = 'weft-self';
/** Seconds: a router that was restarted is found again soon. */
const RETRY = 2;

/** The name of the session with a router: what BIRD calls it. */
export function sessionName(router: string): string {
  return `r_${router.replaceAll(/[^0-9a-f]/g, '_')}`;
}

export function birdConfig(speech: Speech): string {
  const { routerId, localAs, holdTimeSeconds, bfd, sessions, addresses } = speech;
  const ofFamily = (version: number): string[] => addresses.filter((one) => isIP(one) === version);
  const lines = [
    '# Written by the engine out of its service graph; changes are overwritten.',
    'log stderr { warning, error, fatal, auth, bug };',
    `router id ${routerId};`,
    'protocol device { }',
    // They say what is told, not where anything goes: no protocol brings them to the kernel.
    ...staticRoutes('service4', 'ipv4', ofFamily(4), 32),
    ...staticRoutes('service6', 'ipv6', ofFamily(6), 128),
  ];
  if (bfd !== null) {
    lines.push(
      'protocol bfd {',
      `  interface "${INTERFACE}" { interval ${bfd.intervalMs} ms; idle tx interval 1 s; multiplier ${bfd.multiplier}; };`,
      '}',
    );
  }
  for (const { own, router, as } of sessions) {
    const [channel, source] = isIP(router) === 4 ? ['ipv4', 'service4'] : ['ipv6', 'service6'];
    lines.push(
      `protocol bgp ${sessionName(router)} {`,
      `  local ${own} as ${localAs};`,
      `  neighbor ${router} as ${as};`,
      '  direct;',
      `  hold time ${holdTimeSeconds};`,
      `  connect retry time ${RETRY}; connect delay time 0; error wait time 1, ${RETRY};`,
      ...(bfd === null ? [] : ['  bfd on;']),
      `  ${channel} { import none; export where proto = "${source}"; next hop self; };`,
      '}',
    );
  }
  return `${lines.join('\n')}\n`;
}

function staticRoutes(name: string, channel: string, addresses: readonly string[], length: number): string[] {
  return [
    `protocol static ${name} {`,
    `  ${channel};`,
    ...addresses.map((address) => `  route ${address}/${length} blackhole;`),
    '}',
  ];
}
