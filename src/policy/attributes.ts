/** Attribute types that several kinds share: names, addresses, ports, durations. */
import { isIP } from 'node:net';
import { z } from 'zod';

/** Object names: DNS labels, so that they fit into namespaces, VM names and certificates. */
export const Name = z
  .string()
  .max(63)
  .regex(
    /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/,
    'must be lower-case letters, digits and hyphens, and start and end with a letter or digit',
  )
  .meta({ format: 'name' });

export const Address = z
  .string()
  .refine((text) => isIP(text) !== 0 && !text.includes('%'), 'must be an IPv4 or IPv6 address')
  .meta({ format: 'ip' });

/** `10.0.0.0/8`, `fd00::/8`, or a single address. */
export const Prefix = z
  .string()
  .refine((text) => isPrefix(text), 'must be an address or a prefix such as 10.0.0.0/8')
  .meta({ format: 'cidr' });

export const Port = z.int().min(1).max(65535);

/** `80` or `8000-8100`. */
export const PortRange = z
  .string()
  .refine(
    (text) => parsePortRange(text) !== null,
    'must be a port such as "80" or a range such as "8000-8100"',
  )
  .meta({ format: 'port-range' });

export const DurationMs = z.int().min(1).max(86_400_000).meta({ unit: 'ms' });

function isPrefix(text: string): boolean {
  if (text.includes('%')) return false;
  const slash = text.indexOf('/');
  if (slash < 0) return isIP(text) !== 0;
  const version = isIP(text.slice(0, slash));
  const bits = text.slice(slash + 1);
  return version !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128);
}

/** The bounds of a PortRange, or null where the text is none. */
export function parsePortRange(text: string): { from: number; to: number } | null {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return null;
  const from = Number(match[1]);
  const to = match[2] === undefined ? from : Number(match[2]);
  return from >= 1 && to >= from && to <= 65535 ? { from, to } : null;
}
