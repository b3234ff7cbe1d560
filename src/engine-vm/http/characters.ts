/** Which bytes may stand where in HTTP/1.1 (RFC 9110 5.6, RFC 3986), as tables: one look a byte. 0 stands nowhere. */

function table(text: string, ranges: readonly (readonly [number, number])[] = []): Uint8Array {
  const flags = new Uint8Array(256);
  for (const [from, to] of ranges) flags.fill(1, from, to + 1);
  for (const letter of text) flags[letter.charCodeAt(0)] = 1;
  return flags;
}

const ALPHANUMERIC = [
  [48, 57],
  [65, 90],
  [97, 122],
] as const;

/** Methods and field names. */
export const TOKEN = table("!#$%&'*+-.^_`|~", ALPHANUMERIC);

/** Field values: blanks, visible characters, and bytes above ASCII. */
export const FIELD_VALUE = table('\t ', [
  [0x21, 0x7e],
  [0x80, 0xff],
]);

/** Request targets; 2 for those that deserve a second look (`%`, `.`, and `/` for what follows it). */
export const TARGET = table("-_~!$&'()*+,;=:@/?%.[]", ALPHANUMERIC);
TARGET[37] = 3;
TARGET[46] = 3;

/** Host: registered names, IPv4 and IPv6 literals, port. */
export const HOST = table('-._~:[]', ALPHANUMERIC);

/** The value of a hexadecimal digit, 255 for any other byte. */
export const HEX = new Uint8Array(256).fill(255);
for (let n = 0; n < 16; n++) {
  HEX[n.toString(16).charCodeAt(0)] = n;
  HEX[n.toString(16).toUpperCase().charCodeAt(0)] = n;
}
