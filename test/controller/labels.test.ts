/** Labels: what Weft has to do with is shown on it, and no longer when it has not. */
import assert from 'node:assert/strict';
import { LABEL_ATTRIBUTE, type Label } from '../../src/hypervisor/platform.ts';
import { WeftError } from '../../src/policy/errors.ts';
import { datacenterOf, MemoryDatacenter } from '../hypervisor/memory-platform.ts';
import { applyShop, Harness } from './harness.ts';

describe('labels', () => {
  let harness: Harness;
  let labels: Label[];
  let isRefused: boolean;

  beforeEach(async () => {
    labels = [];
    isRefused = false;
    const memory = new MemoryDatacenter(datacenterOf({ h1: ['app1'], h2: ['app2'] }));
    const open = memory.open.bind(memory);
    memory.open = () =>
      Object.assign(open(), {
        label: async (label: Label) => {
          labels.push(label);
          if (isRefused) throw new WeftError('ERR_HYPERVISOR_REFUSED', 'not you');
          const { object, engine } = label;
          if (object.kind !== 'vm') return;
          memory.change(({ vms }) => {
            const vm = vms.find(({ id }) => id === object.id);
            if (!vm) return;
            delete vm.attributes[LABEL_ATTRIBUTE];
            if (engine !== null) vm.attributes[LABEL_ATTRIBUTE] = engine;
          });
        },
      });
    harness = new Harness(memory);
    await harness.start();
  });
  afterEach(async () => {
    await harness.stop();
    assert.deepEqual(harness.violations, []);
  });

  const serving = () => harness.until('it serves', async () => (await harness.service('web')) === 'serving');
  const shown = () =>
    Object.fromEntries(
      harness.datacenter.state.vms.map(({ name, attributes }) => [name, attributes[LABEL_ATTRIBUTE]]),
    );

  it('are on engines and shadow segments, once, and go with what they tell of', async () => {
    await applyShop(harness);
    await serving();
    await harness.run(6000);
    assert.deepEqual(shown(), {
      app1: undefined,
      app2: undefined,
      'edge-h1': 'edge-h1',
      'edge-h2': 'edge-h2',
    });
    const segments = labels.filter(({ object }) => object.kind === 'segment');
    assert.deepEqual(segments.map(({ engine }) => engine).sort(), ['edge-h1', 'edge-h2']);
    const before = labels.length;
    await harness.run(10_000);
    assert.equal(labels.length, before, 'nothing is told twice');
    await harness.remove('virtual-service', 'web');
    await harness.until('they are gone', () => Object.values(shown()).every((one) => one === undefined));
  });

  it('hinder nothing where they are refused, and not asked for all the time', async () => {
    isRefused = true;
    await applyShop(harness);
    await serving();
    await harness.run(20_000);
    assert.equal(labels.length, 1);
  });
});
