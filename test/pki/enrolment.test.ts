import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openAuthority } from '../../src/pki/authority.ts';
import { type EngineIdentity, enrol, renew, renewalDue } from '../../src/pki/enrolment.ts';
import { isWeftError } from '../../src/policy/errors.ts';
import { connectShared } from '../../src/state/shared-client.ts';
import { eventually } from '../contract/shared.ts';
import { HubFixture, Wire } from '../state/hub-fixture.ts';

describe('an engine that enrols', () => {
  let fixture: HubFixture;
  let stateDir: string;
  let wire: Wire;
  let retries: string[];
  const { signal } = new AbortController();

  beforeEach(async () => {
    fixture = await HubFixture.open();
    stateDir = join(fixture.directory, 'engine');
    wire = await Wire.to(() => fixture.hub.address().port);
    retries = [];
  });
  afterEach(async () => {
    wire.close();
    await fixture.dispose();
  });

  const enrolling = (token: string, options: { engine?: string; ca?: string; signal?: AbortSignal } = {}) =>
    enrol({
      controller: wire.url,
      ca: fixture.authority.ca,
      engine: 'e1',
      token,
      stateDir,
      signal,
      onRetry: (error) => retries.push(error.message),
      ...options,
    });
  const renewing = (identity: EngineIdentity, aborting = signal) =>
    renew({
      controller: wire.url,
      identity,
      stateDir,
      signal: aborting,
      onRetry: (error) => retries.push(error.message),
    });

  it('gets an identity that opens the shared state, and keeps it in files of its own', async () => {
    const identity = await enrolling(await fixture.authority.createToken('e1', 60_000));
    assert.ok(identity.expiresAt > Date.now() + 23 * 3600_000);
    assert.equal((await stat(stateDir)).mode & 0o777, 0o700);
    assert.deepEqual(await readdir(stateDir), ['identity.json']);
    assert.equal((await stat(join(stateDir, 'identity.json'))).mode & 0o777, 0o600);
    const client = connectShared({ url: fixture.url, identity, writer: 'e1', epoch: 1 });
    await eventually(() => client.isConnected, 'it connects');
    await client.close();
  });

  it('asks nobody when it has a valid identity', async () => {
    const first = await enrolling(await fixture.authority.createToken('e1', 60_000));
    wire.takeDown();
    assert.deepEqual(await enrolling('used up long ago'), first);
  });

  it('enrols anew when what it has is damaged, of another engine, or of another CA', async () => {
    await enrolling(await fixture.authority.createToken('e1', 60_000));
    await writeFile(join(stateDir, 'identity.json'), '{"certificate":');
    const second = await enrolling(await fixture.authority.createToken('e1', 60_000));
    const other = await enrolling(await fixture.authority.createToken('e2', 60_000), { engine: 'e2' });
    assert.notEqual(other.certificate, second.certificate);
    const rogue = await openAuthority(join(fixture.directory, 'rogue'));
    await writeFile(join(stateDir, 'identity.json'), JSON.stringify({ ...other, ca: rogue.ca }));
    const last = await enrolling(await fixture.authority.createToken('e2', 60_000), { engine: 'e2' });
    assert.notEqual(last.certificate, other.certificate);
    await rogue.close();
  });

  it('repeats until the controller answers', async () => {
    wire.takeDown();
    const pending = enrolling(await fixture.authority.createToken('e1', 60_000));
    await eventually(() => retries.length >= 2, 'it repeats');
    wire.heal();
    await pending;
    assert.match(retries[0]!, /does not answer/);
  });

  it('stops repeating when it is told to', async () => {
    wire.takeDown();
    const stopping = new AbortController();
    const pending = enrolling('x', { signal: stopping.signal });
    setTimeout(() => stopping.abort(new Error('told to')), 50);
    await assert.rejects(pending, /told to/);
  });

  it('gets its certificate with the same token after the reply was lost and it crashed', async () => {
    const token = await fixture.authority.createToken('e1', 60_000);
    const crashing = new AbortController();
    const { authority } = fixture;
    const genuine = authority.enrol.bind(authority);
    let issued = 0;
    authority.enrol = async (request) => {
      const result = await genuine(request);
      issued++;
      if (issued === 1) {
        wire.takeDown();
        crashing.abort(new Error('crash'));
      }
      return result;
    };
    await assert.rejects(enrolling(token, { signal: crashing.signal }), /crash/);
    assert.deepEqual(await readdir(stateDir), ['pending-key.pem']);
    assert.equal((await stat(join(stateDir, 'pending-key.pem'))).mode & 0o777, 0o600);
    wire.heal();
    await enrolling(token);
    assert.equal(issued, 2);
  });

  it('takes a refusal as final', async () => {
    const token = await fixture.authority.createToken('e1', 60_000);
    await assert.rejects(enrolling('wrong'), (error) => isWeftError(error, 'ERR_ENROLMENT_REFUSED'));
    await assert.rejects(enrolling(token, { engine: 'e2' }), (error) =>
      isWeftError(error, 'ERR_ENROLMENT_REFUSED'),
    );
    await enrolling(token);
    const thief = join(fixture.directory, 'thief');
    await assert.rejects(
      enrol({
        controller: wire.url,
        ca: fixture.authority.ca,
        engine: 'e1',
        token,
        stateDir: thief,
        signal,
      }),
      (error) => isWeftError(error, 'ERR_ENROLMENT_REFUSED') && /used already/.test((error as Error).message),
    );
    assert.equal(retries.length, 0);
  });

  it('gives its token to nobody but the controller of its CA', async () => {
    const rogue = await HubFixture.open();
    const received: string[] = [];
    rogue.authority.enrol = async ({ token }) => {
      received.push(token);
      throw new Error('never reached');
    };
    const stopping = new AbortController();
    const pending = enrol({
      controller: rogue.url,
      ca: fixture.authority.ca,
      engine: 'e1',
      token: 'secret',
      stateDir,
      signal: stopping.signal,
      onRetry: (error) => retries.push(error.message),
    });
    await eventually(() => retries.length >= 2, 'it repeats');
    stopping.abort(new Error('enough'));
    await assert.rejects(pending, /enough/);
    assert.deepEqual(received, []);
    await rogue.dispose();
  });

  it('renews with a new key, once two thirds of the time are over', async () => {
    const first = await enrolling(await fixture.authority.createToken('e1', 60_000));
    assert.ok(!renewalDue(first, Date.now()));
    assert.ok(!renewalDue(first, Date.now() + 15 * 3600_000));
    assert.ok(renewalDue(first, Date.now() + 17 * 3600_000));
    const second = await renewing(first);
    assert.notEqual(second.key, first.key);
    assert.ok(new X509Certificate(second.certificate).subjectAltName!.endsWith('/e1'));
    assert.deepEqual(JSON.parse(await readFile(join(stateDir, 'identity.json'), 'utf8')), second);
    assert.deepEqual(await enrolling('not needed'), second);
    await renewing(second);
  });

  it('repeats a renewal until the controller answers, and takes a refusal as final', async () => {
    const first = await enrolling(await fixture.authority.createToken('e1', 60_000));
    wire.takeDown();
    const pending = renewing(first);
    await eventually(() => retries.length >= 1, 'it repeats');
    wire.heal();
    const second = await pending;
    await fixture.authority.revoke('e1');
    await assert.rejects(renewing(second), (error) => isWeftError(error, 'ERR_ENROLMENT_REFUSED'));
    assert.ok((await readdir(stateDir)).includes('identity.json'));
  });
});
