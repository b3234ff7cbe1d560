/**
 * The router that the engine's stack takes to stand before all clients of proxied services. There is none: what is sent
 * to its MAC finds its way by the flow that it belongs to (dataplane/proxied.ts).
 */
import { macHigh, macLow } from '../packet/address.ts';

/** Locally administered, and no engine's or VM's. */
export const STACK_GATEWAY_MAC = '02:57:65:66:74:01';
export const STACK_GATEWAY_MAC_HIGH = macHigh(STACK_GATEWAY_MAC);
export const STACK_GATEWAY_MAC_LOW = macLow(STACK_GATEWAY_MAC);
/** Link-local, so they mean nothing past `weft-self`. */
export const STACK_GATEWAY_IPV4 = '169.254.87.87';
export const STACK_GATEWAY_IPV6 = 'fe80::5765:6674';
/** What connections with clients are marked with (SO_MARK): the routes of marked packets lead to the router. */
export const STACK_GATEWAY_MARK = 87;
