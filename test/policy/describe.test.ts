import assert from 'node:assert/strict';
import { attributesOf } from '../../src/policy/describe.ts';
import { KINDS, kindNamed } from '../../src/policy/registry.ts';

describe('attributes', () => {
  it('all say what they mean', () => {
    for (const kind of KINDS) {
      for (const { path, meaning, type } of attributesOf(kind)) {
        assert.notEqual(meaning, '', `${kind.name} ${path}`);
        assert.notEqual(type, '', `${kind.name} ${path}`);
      }
    }
  });

  it('give type, range, unit and default, and which variant has them', () => {
    const attributes = new Map(
      attributesOf(kindNamed('pool')).map((attribute) => [attribute.path, attribute]),
    );
    const {
      type,
      range,
      unit,
      isRequired,
      default: fallback,
    } = attributes.get('healthMonitors[].intervalMs')!;
    assert.deepEqual(
      { type, range, unit, isRequired, fallback },
      { type: 'whole number', range: '50 to 86400000', unit: 'ms', isRequired: false, fallback: '1000' },
    );
    assert.equal(attributes.get('healthMonitors[].type')!.type, 'one of ping, tcp, http');
    assert.equal(attributes.get('healthMonitors[].path')!.when, 'type http');
    assert.equal(attributes.get('healthMonitors[].port')!.when, 'type tcp or http');
    assert.equal(attributes.get('port')!.isRequired, true);
  });

  it('put parents before children', () => {
    const paths = attributesOf(kindNamed('virtual-service')).map(({ path }) => path);
    assert.ok(paths.indexOf('tiers') < paths.indexOf('tiers[].port'));
    assert.ok(paths.includes('components[].persistence.timeoutMs'));
  });
});
