/** Compares bytes of a head with words and with each other, without making strings. */

/** Whether the bytes from `at` are the word. */
export function spells(bytes: Uint8Array, at: number, word: string): boolean {
  for (let n = 0; n < word.length; n++) if (bytes[at + n] !== word.charCodeAt(n)) return false;
  return true;
}

/** Whether the bytes from `at` to before `end` are the word, whatever their case; `word` is in lower case. */
export function spellsLower(bytes: Uint8Array, at: number, end: number, word: string): boolean {
  if (end - at !== word.length) return false;
  for (let n = 0; n < word.length; n++) {
    const is = bytes[at + n]!;
    const wanted = word.charCodeAt(n);
    if (is !== wanted && (is < 65 || is > 90 || (is | 32) !== wanted)) return false;
  }
  return true;
}

/** Whether two ranges of bytes are the same, whatever the case of their letters. */
export function isEqual(
  bytes: Uint8Array,
  at: number,
  end: number,
  otherAt: number,
  otherEnd: number,
): boolean {
  if (end - at !== otherEnd - otherAt) return false;
  for (let n = 0; n < end - at; n++) {
    const [a, b] = [bytes[at + n]!, bytes[otherAt + n]!];
    if (a !== b && ((a | 32) !== (b | 32) || (a | 32) < 97 || (a | 32) > 122)) return false;
  }
  return true;
}
