/** A controller's hub in a process of its own, which a test can stop; prints its address and two engines' identities. */
import { openAuthority } from '../../src/pki/authority.ts';
import { openHub } from '../../src/state/embedded-hub.ts';
import { issueIdentity } from './hub-fixture.ts';

const authority = await openAuthority(process.argv[2]!);
const hub = await openHub({ authority, host: '127.0.0.1' });
const identities = { a: await issueIdentity(authority, 'a'), b: await issueIdentity(authority, 'b') };
process.stdout.write(`${JSON.stringify({ url: `https://127.0.0.1:${hub.address().port}`, identities })}\n`);
