/** Patterns over names, as policies use them: `*` stands for any characters. */

/** A test for text: `*` stands for any characters, everything else for itself. */
export function patternMatcher(pattern: string): (name: string) => boolean {
  const parts = pattern.split('*');
  if (parts.length === 1) return (name) => name === pattern;
  const [first = '', ...rest] = parts;
  const last = rest.pop() ?? '';
  // By hand rather than by regular expression: many stars must not make the match exponential.
  return (name) => {
    if (!name.startsWith(first)) return false;
    let at = first.length;
    for (const part of rest) {
      const found = name.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return name.length - last.length >= at && name.endsWith(last);
  };
}
