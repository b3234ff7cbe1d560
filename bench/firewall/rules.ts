/** The rules and sets that Weft and nft are both measured with. */

/** The n-th rule: a destination /28, a protocol and a port. */
export interface BenchRule {
  prefix: string;
  port: number;
}

export function benchRules(count: number): BenchRule[] {
  return Array.from({ length: count }, (_rule, n) => ({
    prefix: `10.${(n >> 12) & 255}.${(n >> 4) & 255}.${(n & 15) * 16}/28`,
    port: 1000 + (n % 5000),
  }));
}

/** Prefixes of 20 to 32 bits in 172.0.0.0/8 and around it, none twice. */
export function benchPrefixes(count: number): string[] {
  const prefixes = new Set<string>();
  for (let n = 0; prefixes.size < count; n++) {
    const bits = Math.imul(n + 1, 0x9e3779b1) >>> 0;
    prefixes.add(`172.${bits & 255}.${(bits >>> 8) & 255}.${(bits >>> 16) & 255}`);
  }
  return [...prefixes];
}

/** The same rules and set for nft: an output chain of policy drop. */
export function nftScript(rules: readonly BenchRule[], prefixes: readonly string[]): string {
  const set =
    prefixes.length === 0
      ? ''
      : `  set large { type ipv4_addr; flags interval; elements = { ${prefixes.join(', ')} } }\n`;
  const lines = rules.map(({ prefix, port }) => `    ip daddr ${prefix} udp dport ${port} accept`);
  if (prefixes.length > 0) lines.push('    ip saddr @large accept');
  return `table ip bench {\n${set}  chain out {\n    type filter hook output priority 0; policy drop;\n${lines.join('\n')}\n  }\n}\n`;
}
