/** A check of `npm start -- --once`: held connections spread evenly. */
import { type CheckContext, type CheckResult, service } from './check.ts';
import { waitFor } from './waiting.ts';

/** 200 held connections spread evenly: through one engine to within 1, through three at once to within 10%. */
export async function checkHeldConnections(context: CheckContext): Promise<CheckResult> {
  const problems: string[] = [];
  const { client } = context;
  await context.apply(
    service('check-held', '[10.77.0.121, 10.77.0.122, 10.77.0.123]', 80, 'shop', 'least-connections'),
    ['check-held'],
  );
  const idle = await waitFor(
    context,
    (status) => status.members.every((member) => member.connections === 0),
    5000,
  );
  if (!idle) problems.push('connection counts did not return to 0 before the check');

  // From client addresses of their own: a source port that a member still remembers from the load before would make
  // it refuse the first try, and the second one is balanced afresh.
  const one = await client.hold('one', { address: '10.77.0.121', port: 80, from: '10.77.0.40' }, 200);
  if (one.open !== 200) problems.push(`${one.open} of 200 connections opened: ${one.errors[0] ?? ''}`);
  const oneCounts = await settledCounts(context, 200);
  const spread = Math.max(...oneCounts) - Math.min(...oneCounts);
  if (spread > 1)
    problems.push(`through one engine the members hold ${oneCounts.join(', ')}: they differ by ${spread}`);
  await client.release('one');
  await settledCounts(context, 0);

  const addresses = ['10.77.0.121', '10.77.0.122', '10.77.0.123'];
  const three = await Promise.all(
    addresses.map((address, index) =>
      client.hold(`three-${index}`, { address, port: 80, from: `10.77.0.${41 + index}` }, 100, 2),
    ),
  );
  for (const { open, errors } of three)
    if (open !== 100) problems.push(`${open} of 100 connections opened: ${errors[0] ?? ''}`);
  const threeCounts = await settledCounts(context, 300);
  const percent =
    ((Math.max(...threeCounts) - Math.min(...threeCounts)) / Math.max(1, Math.max(...threeCounts))) * 100;
  if (percent > 10)
    problems.push(
      `through three engines at once the members hold ${threeCounts.join(', ')}: ${percent.toFixed(1)}% apart`,
    );
  await Promise.all(addresses.map((_, index) => client.release(`three-${index}`)));
  await settledCounts(context, 0);
  await context.remove('virtual-service', 'check-held');
  return { figures: { heldSpread: spread, heldSpreadThreeEnginesPercent: round(percent) }, problems };
}

/** Connections per member of the pool `shop`, once they add up to the sum (or after 3 s as they are). */
async function settledCounts(context: CheckContext, sum: number): Promise<number[]> {
  let counts: number[] = [];
  await waitFor(
    context,
    (status) => {
      counts = status.members
        .filter((member) => member.pool === 'shop')
        .map((member) => member.connections ?? Number.NaN);
      return counts.reduce((total, connections) => total + connections, 0) === sum;
    },
    3000,
    50,
  );
  return counts;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
