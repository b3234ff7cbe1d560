/** Which components a service with `http` asks for. */
import assert from 'node:assert/strict';
import { usedComponents } from '../../src/policy/http-order.ts';
import { HttpService } from '../../src/policy/http-service.ts';

describe('the components that a service asks for', () => {
  it('are none where it says nothing, and stand in its order', () => {
    assert.deepEqual(usedComponents(HttpService.parse({})), []);
    const http = {
      compression: {},
      requestId: {},
      cache: {},
      responseFields: { remove: ['Server'] },
      order: ['field-changes', 'request-id'],
    };
    assert.deepEqual(usedComponents(HttpService.parse(http)), [
      'field-changes',
      'request-id',
      'compression',
      'cache',
    ]);
    assert.deepEqual(usedComponents(HttpService.parse({ requestFields: { set: [] } })), []);
  });
});
