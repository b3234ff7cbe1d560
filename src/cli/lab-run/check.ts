/** What a check of `npm start -- --once` is, what it works with, and what several checks share. */
import type { SystemStatus, Trace } from '../../policy/answers.ts';
import type { ClientTarget, LabClient } from './client.ts';

/** What a check works with. */
export interface CheckContext {
  client: LabClient;
  signal: AbortSignal;
  status(): Promise<SystemStatus>;
  trace(service: string, from: string, to?: string): Promise<Trace>;
  /** Applies policy text and waits until the named services serve. */
  apply(text: string, services: string[]): Promise<void>;
  remove(kind: string, name: string): Promise<void>;
  /** Injects a fault into a VM of the lab. */
  fault(kind: 'kill' | 'hang' | 'resume', vm: string): Promise<void>;
  powerOn(vm: string): Promise<void>;
  /** Tells the user what goes on. */
  say(text: string): void;
}

export interface CheckResult {
  /** Figures for the summary. */
  figures: Record<string, number | string>;
  /** What did not hold; empty where all did. */
  problems: string[];
}

export interface Check {
  name: string;
  run(context: CheckContext): Promise<CheckResult>;
}

/** The addresses of the sample policy's service `web`: nobody owns them, engines announce them. */
export const WEB: readonly string[] = [
  '10.77.0.101',
  '10.77.0.102',
  '10.77.0.103',
  'fd77::101',
  'fd77::102',
  'fd77::103',
];

/** How long after a fault traffic may stall. */
export const FAILOVER_BOUND_MS = 3000;

/** Where load for `web` goes. */
export const WEB_TARGETS: ClientTarget[] = WEB.map((address) => ({ address, port: 80 }));

/** Policy text of a virtual service with one tier. */
export function service(
  name: string,
  addresses: string,
  port: number,
  poolName: string,
  method: string,
): string {
  return `kind: virtual-service
name: ${name}
spec:
  engineGroup: edge
  tiers: [{ name: only, addresses: ${addresses}, port: ${port}, pool: ${poolName} }]
  components: [{ type: load-balancer, method: ${method} }]
`;
}
