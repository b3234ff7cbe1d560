/** The health monitors by type: one line each. */
import type { HealthMonitor as Spec } from '../../policy/pool.ts';
import { HttpMonitor } from './http.ts';
import type { Monitor } from './monitor.ts';
import { type EchoExchange, PingMonitor } from './ping.ts';
import { TcpMonitor } from './tcp.ts';

const MONITORS: {
  [T in Spec['type']]: (spec: Extract<Spec, { type: T }>, echo: EchoExchange) => Monitor;
} = {
  ping: (_spec, echo) => new PingMonitor(echo),
  tcp: () => new TcpMonitor(),
  http: (spec) => new HttpMonitor(spec),
};

/** The monitor that a pool's policy describes. `echo`: the sockets that all pings of the process share. */
export function createMonitor(spec: Spec, echo: EchoExchange): Monitor {
  const create = MONITORS[spec.type] as (spec: Spec, echo: EchoExchange) => Monitor;
  return create(spec, echo);
}
