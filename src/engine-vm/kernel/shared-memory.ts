/** Memory that threads share, for copies of what does not change any more. */
import ffi from 'node:ffi';

/**
 * Shared memory as bytes that look like a thread's own: V8 copies from and to a SharedArrayBuffer a word at a time, each
 * with its own guarantee, which takes four times as long. Whoever uses it sees to it by other means (a lock, Atomics on
 * words beside) that nobody writes what is copied. The caller keeps `memory` for as long as the view is used.
 */
export function plainView(memory: SharedArrayBuffer): Uint8Array {
  return new Uint8Array(
    ffi.toArrayBuffer(ffi.getRawPointer(new Uint8Array(memory)), memory.byteLength, false),
  );
}
