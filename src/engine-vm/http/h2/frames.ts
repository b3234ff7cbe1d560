/** What stands in frames of HTTP/2 (RFC 9113 6, 7). */

export const FRAME_HEADER_BYTES = 9;
/** SETTINGS_MAX_FRAME_SIZE as we leave it, and as anybody takes it. */
export const MOST_FRAME_BYTES = 16_384;
/** SETTINGS_INITIAL_WINDOW_SIZE as we leave it. */
export const FIRST_WINDOW = 65_535;
export const MOST_WINDOW = 2 ** 31 - 1;

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PUSH_PROMISE = 5;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

export const END_STREAM = 1;
export const ACK = 1;
export const END_HEADERS = 4;
export const PADDED = 8;
export const HAS_PRIORITY = 32;

export const SETTING_ENABLE_PUSH = 2;
export const SETTING_STREAMS = 3;
export const SETTING_WINDOW = 4;
export const SETTING_FRAME_BYTES = 5;
export const SETTING_HEAD_BYTES = 6;

export const NO_ERROR = 0;
export const PROTOCOL_ERROR = 1;
export const INTERNAL_ERROR = 2;
export const FLOW_CONTROL_ERROR = 3;
export const STREAM_CLOSED = 5;
export const FRAME_SIZE_ERROR = 6;
export const REFUSED_STREAM = 7;
export const CANCEL = 8;
export const COMPRESSION_ERROR = 9;
export const ENHANCE_YOUR_CALM = 11;

/** What a client sends first (RFC 9113 3.4). */
export const PREFACE: Uint8Array = new TextEncoder().encode('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Whether a connection that begins with these bytes is one of HTTP/2; what is missing of the preface may come later. */
export function beginsPreface(bytes: Uint8Array, at: number, end: number): boolean {
  const length = Math.min(PREFACE.length, end - at);
  for (let n = 0; n < length; n++) if (bytes[at + n] !== PREFACE[n]) return false;
  return true;
}

/** Writes the header of a frame at `at`. */
export function writeFrameHeader(
  bytes: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  stream: number,
): void {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  writeNumber(bytes, at + 5, stream);
}

export function writeNumber(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function readNumber(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
