/** HPACK as a receiver: the examples of RFC 7541, its table against a simple model, blocks that are cut off. */
import assert from 'node:assert/strict';
import { HpackDecoder } from '../../../../src/engine-vm/http/h2/hpack-decoder.ts';
import { seededRandom } from '../../../random.ts';

type Field = [string, string];

/** The fields of a block; null where it is refused. */
function decode(decoder: HpackDecoder, block: Uint8Array): Field[] | null {
  const fields: Field[] = [];
  const text = (bytes: Uint8Array, at: number, end: number): string =>
    Buffer.from(bytes.slice(at, end)).toString('latin1');
  const isWhole = decoder.decode(block, 0, block.length, {
    field: (name, nameAt, nameEnd, value, valueAt, valueEnd) =>
      void fields.push([text(name, nameAt, nameEnd), text(value, valueAt, valueEnd)]),
  });
  return isWhole ? fields : null;
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
/** A table of 256 bytes, as the examples of C.5 and C.6 have it. */
const SMALL = '3fe101';

const GETS: Field[][] = [
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
    ['cache-control', 'no-cache'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/index.html'],
    [':authority', 'www.example.com'],
    ['custom-key', 'custom-value'],
  ],
];
const answer = (status: string, second: number): Field[] => [
  [':status', status],
  ['cache-control', 'private'],
  ['date', `Mon, 21 Oct 2013 20:13:${second} GMT`],
  ['location', 'https://www.example.com'],
];
const ANSWERS: Field[][] = [
  answer('302', 21),
  answer('307', 21),
  [
    ...answer('200', 22),
    ['content-encoding', 'gzip'],
    ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'],
  ],
];

/** Of appendix C: the blocks of one connection, and their fields. */
const EXAMPLES: [string, string[], Field[][]][] = [
  ['C.2.1', ['400a637573746f6d2d6b65790d637573746f6d2d686561646572'], [[['custom-key', 'custom-header']]]],
  ['C.2.2', ['040c2f73616d706c652f70617468'], [[[':path', '/sample/path']]]],
  ['C.2.3', ['100870617373776f726406736563726574'], [[['password', 'secret']]]],
  ['C.2.4', ['82'], [[[':method', 'GET']]]],
  [
    'C.3',
    [
      '828684410f7777772e6578616d706c652e636f6d',
      '828684be58086e6f2d6361636865',
      '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
    ],
    GETS,
  ],
  [
    'C.4',
    [
      '828684418cf1e3c2e5f23a6ba0ab90f4ff',
      '828684be5886a8eb10649cbf',
      '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
    ],
    GETS,
  ],
  [
    'C.5',
    [
      `${SMALL}4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d`,
      '4803333037c1c0bf',
      '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31',
    ],
    ANSWERS,
  ],
  [
    'C.6',
    [
      `${SMALL}488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3`,
      '4883640effc1c0bf',
      '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
    ],
    ANSWERS,
  ],
];

const integer = (value: number, bits: number, first: number): number[] => {
  const most = 2 ** bits - 1;
  if (value < most) return [first | value];
  const bytes = [first | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
};
const string = (text: string): number[] => [...integer(text.length, 7, 0), ...Buffer.from(text, 'latin1')];

describe('HPACK', () => {
  for (const [name, blocks, wanted] of EXAMPLES) {
    it(`decodes example ${name} of RFC 7541`, () => {
      const decoder = new HpackDecoder();
      for (const [n, block] of blocks.entries()) assert.deepEqual(decode(decoder, hex(block)), wanted[n]);
    });

    it(`refuses example ${name} that is cut off within a field`, () => {
      const whole = blocks.map(hex);
      const last = whole.pop()!;
      let refused = 0;
      for (let length = 1; length < last.length; length++) {
        const decoder = new HpackDecoder();
        for (const block of whole) assert.notEqual(decode(decoder, block), null);
        const got = decode(decoder, last.subarray(0, length));
        if (got === null) refused++;
        // What ends between two fields is a block of fewer.
        else assert.deepEqual(got, wanted.at(-1)!.slice(0, got.length));
      }
      assert.ok(refused > last.length / 2 || last.length === 1);
    });
  }

  it('evicts the oldest entries, and all for one that is larger than the table', () => {
    const decoder = new HpackDecoder();
    const put = (name: string, value: string): number[] => [0x40, ...string(name), ...string(value)];
    // Room for two entries of 34 bytes.
    assert.notEqual(
      decode(decoder, Buffer.from([...integer(68, 5, 0x20), ...put('a', '1'), ...put('b', '2')])),
      null,
    );
    assert.deepEqual(decode(decoder, Buffer.from([0xbf, 0xbe])), [
      ['a', '1'],
      ['b', '2'],
    ]);
    assert.notEqual(decode(decoder, Buffer.from(put('c', '3'))), null);
    assert.deepEqual(decode(decoder, Buffer.from([0xbf])), [['b', '2']]);
    assert.equal(decode(decoder, Buffer.from([0xc0])), null);
    // Its own name goes as it comes in, and is right all the same.
    const renamed = Buffer.from([0x7f, 0, ...string('4'.repeat(20))]);
    assert.deepEqual(decode(decoder, renamed), [['b', '4'.repeat(20)]]);
    assert.deepEqual(decode(decoder, Buffer.from([0xbe])), [['b', '4'.repeat(20)]]);
    assert.notEqual(decode(decoder, Buffer.from(put('large', 'x'.repeat(100)))), null);
    assert.equal(decode(decoder, Buffer.from([0xbe])), null);
  });

  it('keeps the table as a simple model has it', () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = seededRandom(seed);
    const decoder = new HpackDecoder();
    const below = (most: number): number => Math.floor(random() * most);
    let table: Field[] = [];
    let room = 4096;
    const trim = (): void => {
      let bytes = 0;
      table = table.filter(([name, value]) => {
        bytes += name.length + value.length + 32;
        return bytes <= room;
      });
    };
    for (let n = 0; n < 20_000; n++) {
      const wanted: Field[] = [];
      const block: number[] = [];
      if (below(50) === 0) {
        room = below(4097);
        trim();
        block.push(...integer(room, 5, 0x20));
      }
      for (let left = below(5); left > 0; left--) {
        const at = below(table.length + 1);
        if (at < table.length && below(2) === 0) {
          block.push(...integer(62 + at, 7, 0x80));
          wanted.push(table[at]!);
          continue;
        }
        const value = 'v'.repeat(below(below(10) === 0 ? 5000 : 60));
        const isNamed = at < table.length && below(2) === 0;
        const name = isNamed ? table[at]![0] : `n${below(1000)}`;
        const isKept = below(3) > 0;
        const first = isKept ? integer(isNamed ? 62 + at : 0, 6, 0x40) : integer(isNamed ? 62 + at : 0, 4, 0);
        block.push(...first, ...(isNamed ? [] : string(name)), ...string(value));
        wanted.push([name, value]);
        if (!isKept) continue;
        table = [[name, value], ...table];
        trim();
        if (name.length + value.length + 32 > room) table = [];
      }
      assert.deepEqual(decode(decoder, Buffer.from(block)), wanted, `seed ${seed}, block ${n}`);
    }
  });
});
