/**
 * The rounds of HalfSipHash-2-4 (Aumasson and Bernstein, 2012; the reference code of github.com/veorq/SipHash), a word at
 * a time. One hash after the other: the state is the thread's. Allocates nothing.
 */
const state = new Int32Array(4);

/** Begins a hash; `isWide`: of 64 bits, not of 32. */
export function beginHash(key0: number, key1: number, isWide: boolean): void {
  state[0] = key0;
  state[1] = isWide ? key1 ^ 0xee : key1;
  state[2] = 0x6c796765 ^ key0;
  state[3] = 0x74656462 ^ key1;
}

export function hashWord(word: number): void {
  state[3]! ^= word;
  round();
  round();
  state[0]! ^= word;
}

/** The hash, or its lower half where it is wide. The last word must have been the length, shifted by 24. */
export function endHash(isWide: boolean): number {
  state[2]! ^= isWide ? 0xee : 0xff;
  for (let n = 0; n < 4; n++) round();
  return state[1]! ^ state[3]!;
}

/** The upper half of a wide hash, behind `endHash`. */
export function upperHalf(): number {
  state[1]! ^= 0xdd;
  for (let n = 0; n < 4; n++) round();
  return state[1]! ^ state[3]!;
}

function round(): void {
  let v0 = state[0]!;
  let v1 = state[1]!;
  let v2 = state[2]!;
  let v3 = state[3]!;
  v0 = (v0 + v1) | 0;
  v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
  v0 = (v0 << 16) | (v0 >>> 16);
  v2 = (v2 + v3) | 0;
  v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
  v0 = (v0 + v3) | 0;
  v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
  v2 = (v2 + v1) | 0;
  v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
  v2 = (v2 << 16) | (v2 >>> 16);
  state[0] = v0;
  state[1] = v1;
  state[2] = v2;
  state[3] = v3;
}
