/** For tests: prepares the links of an engine and gives it the addresses named, then serves TCP port 9 until killed. */
import net from 'node:net';
import { prepareLinks, setDataAddresses } from '../../../src/engine-vm/link.ts';

const { signal } = new AbortController();
const mac = await prepareLinks(signal);
await setDataAddresses(process.argv.slice(2), signal);
net.createServer((socket) => socket.end('hello')).listen(9, '::', () => process.stdout.write(`${mac}\n`));
