/** The vim25 table against the definitions that govmomi keeps of the same types. */
import assert from 'node:assert/strict';
import { decodeAnswer } from '../../src/vcenter/vim/decode.ts';
import { encodeCall } from '../../src/vcenter/vim/encode.ts';
import { fieldsOf, parseField, VIM_METHODS, VIM_TYPES } from '../../src/vcenter/vim/schema.ts';
import { govmomiTypes, vcsimProgram } from './vcsim.ts';

const vm = { type: 'VirtualMachine', value: 'vm-1' };

describe('the vim25 table', () => {
  it('has the fields of every type and method in the order and number that govmomi has them', function () {
    this.timeout(300_000);
    const program = vcsimProgram();
    if (program === null) return this.skip();
    const types = Object.keys(VIM_TYPES);
    const methods = Object.entries(VIM_METHODS).map(([name, { args }]) => ({
      name,
      type: `${name[0]!.toUpperCase()}${name.slice(1)}RequestType`,
      fields: Object.entries(args as Record<string, string>).map(([field, text]) => parseField(field, text)),
    }));
    const known = govmomiTypes(program, [
      ...types,
      ...methods.flatMap(({ type, name }) => [type, type.replace('_TaskRequestType', 'RequestType'), name]),
    ]);
    const ours = [
      ...types.map((name) => ({ name, theirs: known[name], fields: fieldsOf(name)! })),
      ...methods.map(({ name, type, fields }) => ({
        name,
        theirs: known[name] ?? known[type] ?? known[type.replace('_TaskRequestType', 'RequestType')],
        fields,
      })),
    ];
    const wrong: string[] = [];
    for (const { name, theirs, fields } of ours) {
      if (!theirs) {
        wrong.push(`${name}: govmomi does not know it`);
        continue;
      }
      // Ours may leave fields out; what it has stands in their order.
      let at = -1;
      for (const field of fields) {
        const index = theirs.findIndex((one) => one.name === field.name);
        const their = theirs[index];
        if (!their) wrong.push(`${name}.${field.name}: unknown`);
        else if (index <= at) wrong.push(`${name}.${field.name}: out of order`);
        else if (their.isArray !== field.isArray) wrong.push(`${name}.${field.name}: one or many`);
        else if (their.isOptional && !field.isOptional) wrong.push(`${name}.${field.name}: optional`);
        at = Math.max(at, index);
      }
    }
    assert.deepEqual(wrong, []);
    assert.ok(types.length > 150 && methods.length > 50);
  });

  it('writes fields in the order of the table, inherited ones first, whatever their order in JavaScript', () => {
    const text = encodeCall(
      vm,
      'ReconfigVM_Task',
      {
        spec: {
          deviceChange: [
            {
              device: {
                $type: 'VirtualVmxnet3',
                macAddress: '00:50:56:00:00:01',
                backing: {
                  $type: 'VirtualEthernetCardNetworkBackingInfo',
                  network: { value: 'network-1', type: 'Network' },
                  deviceName: 'a<b',
                },
                key: 4000,
              },
              operation: 'edit',
            },
          ],
        },
      },
      'op-1',
    );
    assert.ok(
      text.includes(
        '<deviceChange><operation>edit</operation><device xmlns:vim25="urn:vim25" xsi:type="vim25:VirtualVmxnet3"><key>4000</key>' +
          '<backing xmlns:vim25="urn:vim25" xsi:type="vim25:VirtualEthernetCardNetworkBackingInfo"><deviceName>a&lt;b</deviceName>' +
          '<network type="Network">network-1</network></backing><macAddress>00:50:56:00:00:01</macAddress></device></deviceChange>',
      ),
      text,
    );
  });

  it('refuses to write a misspelt field, a missing one, and a type that does not fit', () => {
    const write = (args: object) => () => encodeCall(vm, 'ReconfigVM_Task', args, 'op');
    assert.throws(write({}), /spec is required/);
    assert.throws(write({ spec: { numCpus: 2 } }), /no field numCpus/);
    assert.throws(write({ spec: { numCPUs: '2' } }), /is a int/);
    assert.throws(
      write({ spec: { deviceChange: [{ device: { $type: 'KeyValue' } }] } }),
      /cannot be written/,
    );
    assert.throws(write({ spec: { deviceChange: {} } }), /is a list/);
  });

  it('reads types under whatever prefix, one element as a list, and skips what it does not know', () => {
    const body = (value: string) =>
      `<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>` +
      `<RetrievePropertiesExResponse xmlns="urn:vim25"><returnval><objects><obj type="VirtualMachine">vm-1</obj>` +
      `<propSet><name>p</name>${value}</propSet></objects></returnval></RetrievePropertiesExResponse></e:Body></e:Envelope>`;
    const read = (value: string) => {
      const answer = decodeAnswer('RetrievePropertiesEx', body(value));
      const { objects } = ('result' in answer ? answer.result : null) as {
        objects: { obj: object; propSet: { val: unknown }[] }[];
      };
      assert.deepEqual(objects[0]!.obj, vm);
      return objects[0]!.propSet[0]!.val;
    };
    const odd =
      'xmlns:XMLSchema-instance="http://www.w3.org/2001/XMLSchema-instance" XMLSchema-instance:type';
    const usual = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type';
    const xsd = 'xmlns:x="http://www.w3.org/2001/XMLSchema"';
    assert.equal(read(`<val ${xsd} ${usual}="x:string">a &amp; b&#10;<![CDATA[<c>]]></val>`), 'a & b\n<c>');
    assert.equal(read(`<val ${xsd} ${odd}="x:int">7</val>`), 7);
    assert.equal(read(`<val ${odd}="VirtualMachinePowerState">poweredOn</val>`), 'poweredOn');
    assert.deepEqual(read(`<val ${odd}="ManagedObjectReference" type="HostSystem">host-1</val>`), {
      type: 'HostSystem',
      value: 'host-1',
    });
    assert.deepEqual(read(`<val ${odd}="ArrayOfString"><string>a</string><string/></val>`), ['a', '']);
    assert.deepEqual(
      read(
        `<val ${odd}="ArrayOfVirtualDevice"><VirtualDevice ${usual}="VirtualE1000"><key>4000</key><news><deep/></news>` +
          `<macAddress>00:50:56:00:00:01</macAddress></VirtualDevice><VirtualDevice ${usual}="VirtualToaster"><key>1</key></VirtualDevice></val>`,
      ),
      [
        { $type: 'VirtualE1000', key: 4000, macAddress: '00:50:56:00:00:01' },
        { $type: 'VirtualToaster', key: 1 },
      ],
    );
  });
});
