/**
 * A text kept in vCenter itself: in custom attributes of the root folder, in pieces that fit into one. There are two
 * sides, each of which can hold a whole text; a new one is written over the side that does not hold the latest, so that
 * whoever is cut short in between leaves the other one as it was. A side counts only where all its pieces are of one
 * generation and the text has its checksum; of two that count the later generation is the text.
 */
import { createHash } from 'node:crypto';
import type { TextKeeper } from '../hypervisor/platform.ts';
import { WeftError } from '../policy/errors.ts';
import { attributeKeys, attributeValues, defineAttribute, setAttribute } from './attributes.ts';
import type { VcenterSession } from './session.ts';
import type { MoRef } from './vim/schema.ts';

/** Attributes are `weft.policy.a.01` and so on. */
const PREFIX = 'weft.policy.';
/** Custom attributes have up to 255 characters; the rest is what stands before the piece. */
const PIECE_CHARACTERS = 220;
/** Each piece is a definition that administrators see in a list: there have to be few. */
const MOST_PIECES = 60;
const SIDES = ['a', 'b'] as const;
type SideName = (typeof SIDES)[number];

interface Side {
  name: SideName;
  generation: number;
  /** Null where it is not whole. */
  text: string | null;
}

export class VcenterPolicyCopy implements TextKeeper {
  readonly mostCharacters = PIECE_CHARACTERS * MOST_PIECES;
  readonly #session: VcenterSession;

  constructor(session: VcenterSession) {
    this.#session = session;
  }

  async read(signal: AbortSignal): Promise<string | null> {
    const { sides } = await this.#look(signal);
    return latest(sides)?.text ?? null;
  }

  async write(text: string, signal: AbortSignal): Promise<void> {
    if (text.length > this.mostCharacters) {
      throw new WeftError(
        'ERR_HYPERVISOR_REFUSED',
        `custom attributes of vCenter are made to keep at most ${this.mostCharacters} characters, not ${text.length}`,
      );
    }
    const { rootFolder, keys, values, sides } = await this.#look(signal);
    const current = latest(sides);
    if (current?.text === text) return;
    const side: SideName = current?.name === 'a' ? 'b' : 'a';
    const generation = Math.max(0, ...sides.map((one) => one.generation)) + 1;
    const pieces = cut(text);
    for (const [index, piece] of pieces.entries()) {
      const name = nameOf(side, index);
      const key = keys.get(name) ?? (await defineAttribute(this.#session, name, 'Folder', signal));
      const value = `${generation} ${index + 1}/${pieces.length} ${checksum(text)} ${piece}`;
      await setAttribute(this.#session, rootFolder, key, value, signal);
    }
    if ((await this.read(signal)) !== text) {
      throw new WeftError(
        'ERR_HYPERVISOR_REFUSED',
        `vCenter does not keep custom attributes ${PREFIX}* of the root folder as they are written: does somebody else write them?`,
      );
    }
    // What a longer text left on that side says nothing any more.
    for (const [name, key] of keys) {
      const isBehind = name.startsWith(`${PREFIX}${side}.`) && name >= nameOf(side, pieces.length);
      if (isBehind && values.has(key)) await setAttribute(this.#session, rootFolder, key, '', signal);
    }
  }

  async #look(
    signal: AbortSignal,
  ): Promise<{ rootFolder: MoRef; keys: Map<string, number>; values: Map<number, string>; sides: Side[] }> {
    const { rootFolder } = await this.#session.connect(signal);
    const keys = await attributeKeys(this.#session, PREFIX, signal);
    const values: Map<number, string> =
      keys.size === 0 ? new Map() : await attributeValues(this.#session, rootFolder, signal);
    const valueAt = (name: string): string => values.get(keys.get(name) ?? -1) ?? '';
    return { rootFolder, keys, values, sides: SIDES.map((name) => readSide(name, valueAt)) };
  }
}

function nameOf(side: SideName, index: number): string {
  return `${PREFIX}${side}.${String(index + 1).padStart(2, '0')}`;
}

function readSide(name: SideName, valueAt: (name: string) => string): Side {
  const head = parsePiece(valueAt(nameOf(name, 0)));
  if (head?.number !== 1) return { name, generation: 0, text: null };
  const { generation, count, sum } = head;
  const pieces = Array.from({ length: count }, (_, index) => parsePiece(valueAt(nameOf(name, index))));
  const isWhole = pieces.every(
    (one, index) =>
      one?.generation === generation && one.count === count && one.sum === sum && one.number === index + 1,
  );
  const text = pieces.map((one) => one?.piece ?? '').join('');
  return { name, generation, text: isWhole && checksum(text) === sum ? text : null };
}

interface Piece {
  generation: number;
  number: number;
  count: number;
  sum: string;
  piece: string;
}

function parsePiece(value: string): Piece | null {
  const match = /^(\d{1,12}) (\d{1,3})\/(\d{1,3}) ([0-9a-f]{12}) ([\w-]*)$/.exec(value);
  if (!match) return null;
  const [, generation, number, count, sum = '', piece = ''] = match;
  if (Number(count) < 1 || Number(count) > MOST_PIECES) return null;
  return { generation: Number(generation), number: Number(number), count: Number(count), sum, piece };
}

function latest(sides: readonly Side[]): Side | null {
  const whole = sides.filter(({ text }) => text !== null);
  return whole.sort((one, other) => other.generation - one.generation)[0] ?? null;
}

function cut(text: string): string[] {
  const pieces: string[] = [];
  for (let at = 0; at < text.length; at += PIECE_CHARACTERS)
    pieces.push(text.slice(at, at + PIECE_CHARACTERS));
  return pieces.length === 0 ? [''] : pieces;
}

function checksum(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12);
}
