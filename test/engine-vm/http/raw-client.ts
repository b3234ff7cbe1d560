/** A client of a few lines that asks once, and reads the response by itself: its fields as they came, its body as bytes. */
import { once } from 'node:events';
import { connect } from 'node:net';

export interface RawResponse {
  status: number;
  /** As they came. */
  lines: string[];
  /** By lower-case name; the last one where there are several. */
  fields: Record<string, string>;
  body: Buffer;
  /** The body ended as it said it would. */
  isWhole: boolean;
}

/** `line` is like `GET /path`. */
export async function fetchRaw(
  port: number,
  line: string,
  fields: readonly string[] = [],
  version = '1.1',
  body = '',
): Promise<RawResponse> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  const parts: Buffer[] = [];
  socket.on('data', (bytes: Buffer) => parts.push(bytes));
  const host = fields.some((field) => /^host:/i.test(field)) ? [] : ['Host: test'];
  socket.write(
    [`${line} HTTP/${version}`, ...host, 'Connection: close', ...fields, '', body].join('\r\n'),
    'latin1',
  );
  await once(socket, 'close');
  return readResponse(Buffer.concat(parts), line.startsWith('HEAD '));
}

function readResponse(bytes: Buffer, isHead: boolean): RawResponse {
  const at = bytes.indexOf('\r\n\r\n');
  const [first = '', ...lines] = bytes.subarray(0, Math.max(0, at)).toString('latin1').split('\r\n');
  const fields = Object.fromEntries(
    lines.map((one) => {
      const colon = one.indexOf(':');
      return [one.slice(0, colon).toLowerCase(), one.slice(colon + 1).trim()];
    }),
  );
  const rest = bytes.subarray(at + 4);
  const head = { status: Number(first.split(' ')[1] ?? 0), lines, fields };
  if (isHead || head.status === 304 || head.status === 204)
    return { ...head, body: rest, isWhole: rest.length === 0 };
  if (fields['transfer-encoding'] === undefined) {
    const length = fields['content-length'];
    return {
      ...head,
      body: rest,
      isWhole: head.status > 0 && (length === undefined || Number(length) === rest.length),
    };
  }
  const data: Buffer[] = [];
  for (let from = 0; ; ) {
    const end = rest.indexOf('\r\n', from);
    const size = end < 0 ? Number.NaN : Number.parseInt(rest.subarray(from, end).toString('latin1'), 16);
    if (size === 0) return { ...head, body: Buffer.concat(data), isWhole: true };
    if (Number.isNaN(size) || rest.length < end + 2 + size) break;
    data.push(rest.subarray(end + 2, end + 2 + size));
    from = end + 4 + size;
  }
  return { ...head, body: Buffer.concat(data), isWhole: false };
}
