/** Gives one frame to a program of the kernel, which runs it and sends nothing (BPF_PROG_TEST_RUN, bpf(2)). */
import { addressOf, bpf } from '../../../src/engine-vm/kernel/bpf.ts';

const PROG_TEST_RUN = 10;
const output = new Uint8Array(4096);

export interface TestRun {
  verdict: number;
  /** The frame as the program left it, in hexadecimal. */
  bytes: string;
}

/** `context` is a struct xdp_md or __sk_buff. Throws where the kernel refuses. */
export function testRun(program: number, bytes: Uint8Array, context: Uint8Array): TestRun {
  let attribute!: DataView;
  const result = bpf(PROG_TEST_RUN, (view) => {
    attribute = view;
    view.setUint32(0, program, true);
    view.setUint32(8, bytes.length, true);
    view.setUint32(12, output.length, true);
    view.setBigUint64(16, addressOf(bytes), true);
    view.setBigUint64(24, addressOf(output), true);
    view.setUint32(32, 1, true);
    view.setUint32(40, context.length, true);
    view.setBigUint64(48, addressOf(context), true);
  });
  if (result < 0) throw new Error(`BPF_PROG_TEST_RUN failed for ${bytes.length} bytes`);
  const length = attribute.getUint32(12, true);
  return {
    verdict: attribute.getUint32(4, true),
    bytes: Buffer.from(output.subarray(0, length)).toString('hex'),
  };
}
