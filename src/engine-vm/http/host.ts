/** Whether a Host is one host and perhaps a port, and nothing more: no user, no list, no path (RFC 9110 7.2). */
import { HEX, HOST } from './characters.ts';

const COLON = 58;

/** Of the bytes from `at` to before `end`. */
export function isHostValid(bytes: Uint8Array, at: number, end: number): boolean {
  if (at >= end || end - at > 259) return false;
  let p = at;
  if (bytes[p] === 91) {
    p++;
    let colons = 0;
    for (; p < end && bytes[p] !== 93; p++) {
      if (bytes[p] === COLON) colons++;
      else if (HEX[bytes[p]!] === 255 && bytes[p] !== 46) return false;
    }
    if (p >= end || colons < 2) return false;
    p++;
  } else {
    while (p < end && HOST[bytes[p]!] === 1 && bytes[p] !== COLON && bytes[p] !== 91 && bytes[p] !== 93) p++;
    if (p === at) return false;
  }
  if (p === end) return true;
  if (bytes[p] !== COLON || end - p > 6) return false;
  let port = 0;
  for (p++; p < end; p++) {
    if (bytes[p]! < 48 || bytes[p]! > 57) return false;
    port = port * 10 + bytes[p]! - 48;
  }
  return port <= 65_535;
}
