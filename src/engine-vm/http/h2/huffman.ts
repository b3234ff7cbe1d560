/**
 * The Huffman code of RFC 7541 Appendix B, decoded four bits a step. The code is canonical, so the lengths of its codes
 * say all of it.
 */

/** Lengths of the codes of bytes 0 to 255 and of EOS, as letters: A is 5 bits, Z is 30. */
const LENGTHS =
  'ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCCCCDCDIOIJBKABABABBBACCBBBABCBAABCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRTQRSSQQRQSRSSPRRRSRRSVVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWVZ';
const EOS = 256;

/** Nodes of the tree: a child is a node (above 0), a symbol (-1 - symbol), or not there (0). */
function tree(): number[][] {
  const nodes: number[][] = [[0, 0]];
  const symbols = Array.from(LENGTHS, (letter, symbol) => ({ symbol, length: letter.charCodeAt(0) - 60 }));
  symbols.sort((a, b) => a.length - b.length || a.symbol - b.symbol);
  let code = 0;
  let before = symbols[0]!.length;
  for (const { symbol, length } of symbols) {
    code *= 2 ** (length - before);
    before = length;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const branch = Math.floor(code / 2 ** bit) & 1;
      if (nodes[node]![branch] === 0) {
        nodes[node]![branch] = nodes.length;
        nodes.push([0, 0]);
      }
      node = nodes[node]![branch]!;
    }
    nodes[node]![code & 1] = -1 - symbol;
    code++;
  }
  return nodes;
}

/** For each node and each four bits: the next node, and 256 + symbol where one ends there. */
const NEXT = new Uint8Array(256 * 16);
const SYMBOL = new Uint16Array(256 * 16);
/** A step that would emit EOS. */
const INVALID = 0xffff;
/** Nodes at which a string may end: what stands since the last symbol is fewer than 8 bits, all ones. */
const MAY_END = new Uint8Array(256);

{
  const nodes = tree();
  for (let from = 0; from < nodes.length; from++) {
    for (let bits = 0; bits < 16; bits++) {
      let node = from;
      let symbol = 0;
      for (let bit = 3; bit >= 0 && symbol !== INVALID; bit--) {
        const child = nodes[node]![(bits >> bit) & 1]!;
        if (child > 0) node = child;
        else {
          node = 0;
          symbol = -1 - child === EOS ? INVALID : 256 + -1 - child;
        }
      }
      NEXT[from * 16 + bits] = node;
      SYMBOL[from * 16 + bits] = symbol;
    }
  }
  for (let node = 0, depth = 0; depth < 8; depth++) {
    MAY_END[node] = 1;
    node = nodes[node]![1]!;
  }
}

/** Decodes into `target` from `to` on, and returns where that ends; -1 where it is no such string or there is no room. */
export function decodeHuffman(
  bytes: Uint8Array,
  at: number,
  end: number,
  target: Uint8Array,
  to: number,
): number {
  let node = 0;
  let out = to;
  if (to + (end - at) * 2 > target.length) return -1;
  for (let p = at; p < end; p++) {
    const byte = bytes[p]!;
    let step = node * 16 + (byte >> 4);
    let symbol = SYMBOL[step]!;
    if (symbol !== 0) {
      if (symbol === INVALID) return -1;
      target[out++] = symbol;
    }
    step = NEXT[step]! * 16 + (byte & 15);
    symbol = SYMBOL[step]!;
    if (symbol !== 0) {
      if (symbol === INVALID) return -1;
      target[out++] = symbol;
    }
    node = NEXT[step]!;
  }
  return MAY_END[node] === 1 ? out : -1;
}
