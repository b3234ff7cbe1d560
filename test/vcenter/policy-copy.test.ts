/** A text kept in custom attributes of a vCenter: whole or not at all, whatever cuts a write short. */
import assert from 'node:assert/strict';
import type { Platform, TextKeeper } from '../../src/hypervisor/platform.ts';
import { type PaperVcenter, startPaperVcenter } from './paper-vcenter.ts';

describe('policy kept in a vCenter', function () {
  this.timeout(30_000);
  const never = new AbortController().signal;
  let paper: PaperVcenter;
  let platform: Platform;
  let copy: TextKeeper;

  beforeEach(async () => {
    paper = await startPaperVcenter();
    platform = paper.open();
    assert.ok(platform.policyCopy);
    copy = platform.policyCopy;
  });
  afterEach(async () => {
    await platform.close();
    await paper.stop();
  });

  const text = (number: number) => `text-${number}_`.repeat(20 + ((number * 37) % 160));
  const values = () => {
    const { customFields, customValues } = paper.vcenter.state;
    const keys = new Set(
      customFields.filter(({ name }) => name.startsWith('weft.policy.')).map(({ key }) => String(key)),
    );
    return Object.entries(customValues).flatMap(([object, byKey]) =>
      Object.entries(byKey).flatMap(([key, value]) =>
        keys.has(key) ? [{ object, value: String(value) }] : [],
      ),
    );
  };

  it('is on the root folder alone, in values that an attribute holds', async () => {
    await copy.write(text(3), never);
    assert.ok(values().length > 1);
    assert.equal(new Set(values().map(({ object }) => object)).size, 1);
    for (const { value } of values()) assert.ok(value.length <= 255, value);
    const ours = paper.vcenter.state.customFields.filter(({ name }) => name.startsWith('weft.policy.'));
    assert.deepEqual([...new Set(ours.map((one) => one.managedType))], ['Folder']);
  });

  it('takes away what a longer text left', async () => {
    for (const number of [4, 1, 1, 0]) await copy.write(text(number), never);
    await copy.write('short', never);
    await copy.write('also-short', never);
    await copy.write('shorter', never);
    assert.equal(await copy.read(never), 'shorter');
    assert.equal(values().filter(({ value }) => value !== '').length, 2);
  });

  it('answers the text before or the text after, whichever call fails', async () => {
    let kept: string | null = null;
    let failures = 0;
    for (let number = 0; number < 40; number++) {
      const fault = await paper.datacenter.faults.inject({
        kind: 'vcenter',
        call: 'SetField',
        object: null,
        percent: 8,
        count: null,
        delayMs: 0,
        effect: 'refuse',
      });
      const failed = await copy.write(text(number), never).then(
        () => false,
        () => true,
      );
      await paper.datacenter.faults.heal(fault.id);
      const now = await copy.read(never);
      if (failed) failures++;
      assert.ok(now === text(number) || (failed && now === kept), `after write ${number}`);
      kept = now;
    }
    assert.ok(failures > 5 && failures < 40, `${failures} of 40 writes failed`);
  });

  it('does not take for a text what somebody else wrote over a part of it', async () => {
    await copy.write(text(2), never);
    await copy.write(text(5), never);
    const { customFields, customValues } = paper.vcenter.state;
    const key = customFields.find(({ name }) => name === 'weft.policy.b.02')?.key;
    for (const byKey of Object.values(customValues)) if (String(key) in byKey) byKey[String(key)] = 'hello';
    assert.equal(await copy.read(never), text(2));
    await copy.write(text(5), never);
    assert.equal(await copy.read(never), text(5));
  });

  it('is refused, with the privilege, to a user that may not write attributes', async () => {
    await paper.datacenter.faults.inject({ kind: 'privilege', privilege: 'Global.SetCustomField' });
    await assert.rejects(copy.write('x', never), { code: 'ERR_HYPERVISOR_REFUSED' });
    assert.equal(await copy.read(never), null);
  });
});
