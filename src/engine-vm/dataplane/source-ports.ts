/**
 * The source ports that an engine uses for translated connections. The engine's own kernel must use others for its
 * probes: the appliance sets net.ipv4.ip_local_port_range below FIRST_PORT.
 */
export const FIRST_PORT = 40_000;
export const LAST_PORT = 64_999;
/** How many ports are tried, from a random one on, before the choice fails: bounds the time of one packet. */
export const PORT_TRIES = 256;
