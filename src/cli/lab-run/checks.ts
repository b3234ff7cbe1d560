/**
 * What `npm start -- --once` checks, in this order. Each drives the lab with real traffic, measures, and answers with
 * figures for the summary and a list of what did not hold. The scenario tests run the same functions.
 */
import type { Check } from './check.ts';
import { checkEngineFault } from './check-engine-fault.ts';
import { checkFirewall } from './check-firewall.ts';
import { checkHeldConnections } from './check-held-connections.ts';
import { checkMemberKilled } from './check-member-killed.ts';
import { checkSession } from './check-session.ts';
import { checkTraffic } from './check-traffic.ts';
import { checkWorkedExample } from './check-worked-example.ts';

export const CHECKS: Check[] = [
  { name: 'traffic', run: checkTraffic },
  { name: 'held connections', run: checkHeldConnections },
  { name: 'worked example', run: checkWorkedExample },
  { name: 'session', run: checkSession },
  { name: 'firewall', run: checkFirewall },
  { name: 'engine killed', run: (context) => checkEngineFault(context, 'kill') },
  { name: 'engine hung', run: (context) => checkEngineFault(context, 'hang') },
  { name: 'member killed', run: checkMemberKilled },
];
