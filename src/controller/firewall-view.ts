/** What the rules of a firewall policy do: every engine that carries it is asked, and the answers are added up. */
import type { EngineFirewall, FirewallView } from '../policy/answers.ts';
import { WeftError } from '../policy/errors.ts';
import type { Desired } from './desired.ts';
import type { Ask } from './trace.ts';

/** `limit`: the most entries of the log. Throws ERR_NOT_FOUND. */
export async function firewallView(
  policy: string,
  limit: number,
  desired: Desired,
  ask: Ask,
): Promise<FirewallView> {
  const spec = desired.policies.firewalls.get(policy);
  if (!spec) throw new WeftError('ERR_NOT_FOUND', `there is no firewall-policy ${policy}`);
  const services = [...desired.policies.services]
    .filter(
      ([, service]) =>
        service.isEnabled && service.components.some((c) => c.type === 'firewall' && c.policy === policy),
    )
    .map(([name]) => name)
    .sort();
  const engines = [...desired.engines.values()].filter((engine) =>
    engine.services.some((service) => services.includes(service)),
  );
  const view: FirewallView = {
    policy,
    services,
    rules: [
      ...spec.rules.map(({ name, action }) => ({ rule: name, action, packets: 0, limited: 0 })),
      { rule: 'default', action: spec.defaultAction, packets: 0, limited: 0 },
    ],
    log: [],
    silent: [],
  };
  const answers = await Promise.allSettled(
    engines.map(async ({ id }) => (await ask(id, 'firewall', { policy, limit })) as EngineFirewall),
  );
  answers.forEach((answer, index) => {
    const engine = engines[index]?.id ?? '';
    if (answer.status === 'rejected') {
      view.silent.push({ engine, reason: (answer.reason as Error).message });
      return;
    }
    const { packets, limited, log } = answer.value;
    view.rules.forEach((rule, place) => {
      // The default is '' there, for a rule may be called default.
      const name = place < spec.rules.length ? rule.rule : '';
      rule.packets += packets[name] ?? 0;
      rule.limited += limited[name] ?? 0;
    });
    view.log.push(...log.map((entry) => ({ ...entry, engine })));
  });
  view.log.sort((a, b) => (a.time < b.time ? 1 : a.time > b.time ? -1 : 0));
  view.log = view.log.slice(0, limit);
  return view;
}
