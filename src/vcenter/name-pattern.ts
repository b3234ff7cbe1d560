/** Names by pattern: `*` stands for any characters. */

/** A test for names that fit one of the patterns; every name fits where there are none. */
export function patternOfNames(patterns: readonly string[] | undefined): (name: string) => boolean {
  if (!patterns || patterns.length === 0) return () => true;
  const tests = patterns.map((pattern) => {
    const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '.*');
    return new RegExp(`^${escaped}$`);
  });
  return (name) => tests.some((test) => test.test(name));
}
