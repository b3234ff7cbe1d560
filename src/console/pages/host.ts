/** A host's engine: its state and liveness, the revision of its graph, flows and drops, and who stands behind it. */
import type { HostView } from '../../policy/answers.ts';
import { badge, type Child, duration, el, facts, notice, number, table } from './dom.ts';
import { start } from './shell.ts';

start(async (page) => {
  const { host } = (await page.ask(
    `host?id=${encodeURIComponent(page.id)}&cloud=${encodeURIComponent(page.cloud)}`,
  )) as {
    host: HostView;
  };
  if (page.view === 'card') return card(host);
  const content: Node[] = [el('h1', '', host.name)];
  if (!host.isConnected) content.push(notice('bad', 'The host is disconnected.'));
  if (host.isInMaintenance) content.push(notice('info', 'The host is in maintenance.'));
  if (host.engines.length === 0) content.push(notice('info', `No service engine here: ${host.why}.`));
  for (const engine of host.engines) content.push(...drawEngine(engine));
  content.push(
    table(
      'Under way',
      ['Step', 'Object', 'State', 'Message'],
      host.operations.map((one) => [one.step, one.object, one.state, one.message]),
      'Nothing is being done on this host.',
    ),
  );
  return content;
});

function card(host: HostView): Node[] {
  if (host.engines.length === 0) return [el('p', 'none', `No service engine: ${host.why}`)];
  return host.engines.map((engine) =>
    facts(
      ['Engine', el('span', '', el('strong', '', engine.id), ' ', badge(engine.state))],
      [
        'Members in line',
        `${engine.behind.filter((one) => one.isIntercepted).length} of ${engine.behind.length}`,
      ],
      ['Flows', number(engine.flows)],
      ['Liveness', engine.verdictReason],
    ),
  );
}

function drawEngine(engine: HostView['engines'][number]): Node[] {
  const drops = Object.entries(engine.drops).filter(([, packets]) => packets > 0);
  const revision: Child =
    engine.graphRevision === engine.wantedRevision
      ? String(engine.graphRevision)
      : `${engine.graphRevision}, and ${engine.wantedRevision} is on its way`;
  return [
    el(
      'section',
      'columns',
      facts(
        ['Engine', el('strong', '', engine.id)],
        ['State', badge(engine.state)],
        [
          'Liveness',
          el(
            'span',
            '',
            badge(engine.verdict),
            ` ${engine.verdictReason}, for ${duration(engine.verdictMs)}`,
          ),
        ],
        ['Controller', engine.isConnected ? 'connected' : 'not connected'],
        ['Data path', engine.datapath || '-'],
      ),
      facts(
        ['Graph revision', revision],
        [
          'Flows',
          `${number(engine.flows)} now, ${number(engine.newFlows)} in all, ${number(engine.evictedFlows)} half open evicted`,
        ],
        ['Packets', `${number(engine.receivedPackets)} received, ${number(engine.sentPackets)} sent`],
        ['Own addresses', engine.addresses.join(', ') || '-'],
        ['Services', engine.services.join(', ') || '-'],
      ),
    ),
    table(
      `Behind ${engine.id}`,
      ['VM', 'In line'],
      engine.behind.map((one) => [one.vm, one.isIntercepted ? 'yes' : 'not yet']),
      'No VM stands behind it.',
    ),
    table(
      'Dropped packets',
      ['Reason', 'Packets'],
      drops.map(([reason, packets]) => [reason, number(packets)]),
      'It has dropped nothing.',
    ),
  ];
}
