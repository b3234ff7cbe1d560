/** AF_XDP in tests: not every kernel was built with it. */
import { PacketMemory } from '../../../src/engine-vm/kernel/packet-memory.ts';
import { Umem, XskSocket, xskMemory } from '../../../src/engine-vm/kernel/xsk.ts';

/** Why this kernel has no AF_XDP sockets; null where it has. */
export function whyNoAfXdp(): string | null {
  const memory = new PacketMemory(xskMemory(1));
  try {
    new XskSocket('weft-absent', 0, new Umem(memory, 1));
    return null;
  } catch (error) {
    const { message } = error as Error;
    return message.startsWith('socket AF_XDP') ? message : null;
  } finally {
    memory.close();
  }
}

/** For a hook or a test, as root: skips with one line where there is no AF_XDP. */
export function requireAfXdp(context: Mocha.Context): void {
  const reason = whyNoAfXdp();
  if (reason === null) return;
  console.log(`      not run: this kernel has no AF_XDP: ${reason}`);
  context.skip();
}
