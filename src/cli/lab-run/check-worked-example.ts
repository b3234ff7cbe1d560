/** A check of `npm start -- --once`: the worked case of the topological load. */
import { type CheckContext, type CheckResult, service } from './check.ts';
import { waitFor } from './waiting.ts';

/** The worked case: (C, H) = (20, 0), (4, 3), (5, 1) give L = 20, 16, 10, and the third is chosen. */
export async function checkWorkedExample(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const { client } = context;
  // app1's own address: its engine, on h1, decides. From there app1 is 0 hops away, app5 (h3) 3, app3 (h2) 1.
  await context.apply(
    `${pool('check-example', ['app1', 'app3', 'app5'])}---\n${service('check-example', '[10.77.0.11]', 83, 'check-example', 'topological')}`,
    ['check-example'],
  );
  await client.hold('app1', { address: '10.77.0.11', port: 8080 }, 20);
  await client.hold('app5', { address: '10.77.0.15', port: 8080 }, 4);
  await client.hold('app3', { address: '10.77.0.13', port: 8080 }, 5);
  const wanted = { app1: [20, 0, 20], app5: [4, 3, 16], app3: [5, 1, 10] } as const;
  const seen = await waitFor(
    context,
    (status) =>
      Object.entries(wanted).every(([vm, [connections]]) =>
        status.members.some(
          (member) =>
            member.vm === vm && member.pool === 'check-example' && member.connections === connections,
        ),
      ),
    3000,
  );
  const status = await context.status();
  const entry = status.engines.find((engine) => engine.host === 'h1')?.id ?? '';
  const loads: Record<string, number> = {};
  for (const [vm, [connections, hops, load]] of Object.entries(wanted)) {
    const member = status.members.find(
      (candidate) => candidate.vm === vm && candidate.pool === 'check-example',
    );
    const view = member?.views[entry];
    loads[vm] = view?.load ?? -1;
    if (member?.connections !== connections || view?.hops !== hops || view.load !== load) {
      problems.push(
        `${vm}: C ${member?.connections}, H ${view?.hops}, L ${view?.load} from ${entry}; expected ${connections}, ${hops}, ${load}`,
      );
    }
  }
  if (!seen) problems.push('the engines did not count the held connections within 3 s');
  const answer = await client.get({ address: '10.77.0.11', port: 83, from: '10.77.0.24' });
  if (answer.vm !== 'app3')
    problems.push(`the new connection went to ${answer.vm || answer.error}, not to app3`);
  await Promise.all(['app1', 'app3', 'app5'].map((group) => client.release(group)));
  await context.remove('virtual-service', 'check-example');
  await context.remove('pool', 'check-example');
  return {
    figures: { workedExample: answer.vm, workedExampleLoads: `${loads.app1}, ${loads.app5}, ${loads.app3}` },
    problems,
  };
}

function pool(name: string, vms: readonly string[]): string {
  return `kind: pool
name: ${name}
spec:
  cloud: lab
  members: { names: [${vms.join(', ')}] }
  port: 8080
`;
}
