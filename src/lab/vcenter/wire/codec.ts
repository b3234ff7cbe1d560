/**
 * Between XML and values, as the type table says. Reading is as strict as vCenter's own parser: elements in the order
 * of the schema with inherited ones first, every one in the namespace, a derived type named by xsi:type, required
 * ones present. Whatever does not fit is an InvalidRequest that says what was expected.
 */
import { enumeration, fields, isDataType, isKindOf, isManagedType, type Member } from '../schema/notation.ts';
import { invalidRequest, VimFault } from './fault.ts';
import { isMoRef, isStruct, type MoRef, type Struct, type Value } from './values.ts';
import { escapeXml, type XmlElement } from './xml.ts';

export const VIM25 = 'urn:vim25';
export const XSI = 'http://www.w3.org/2001/XMLSchema-instance';
export const XSD = 'http://www.w3.org/2001/XMLSchema';

/** Type of a value that is text of the wire already, its element included: `{ $type: RAW, text }`. */
export const RAW = '$raw';

/** Simple types: how the text must look, the name on the wire, and what it is in memory. */
const SIMPLE: Record<string, { xsd: string; pattern: RegExp; read: (text: string) => Value }> = {
  string: { xsd: 'string', pattern: /^[\s\S]*$/, read: String },
  int: integer('int', -(2 ** 31), 2 ** 31 - 1),
  short: integer('short', -32768, 32767),
  byte: integer('byte', -128, 127),
  long: integer('long', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
  boolean: { xsd: 'boolean', pattern: /^(true|false|1|0)$/, read: (text) => text === 'true' || text === '1' },
  float: { xsd: 'float', pattern: /^[-+0-9.eE]+$/, read: Number },
  double: { xsd: 'double', pattern: /^[-+0-9.eE]+$/, read: Number },
  dateTime: {
    xsd: 'dateTime',
    pattern: /^-?\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)?$/,
    read: String,
  },
  base64Binary: { xsd: 'base64Binary', pattern: /^[A-Za-z0-9+/=\s]*$/, read: String },
  anyURI: { xsd: 'anyURI', pattern: /^[\s\S]*$/, read: String },
  Link: { xsd: 'string', pattern: /^[\s\S]*$/, read: String },
  TypeName: { xsd: 'string', pattern: /^[\w.]+$/, read: String },
  MethodName: { xsd: 'string', pattern: /^[\w.]+$/, read: String },
  PropertyPath: { xsd: 'string', pattern: /^[\s\S]*$/, read: String },
};

function integer(xsd: string, least: number, most: number) {
  return {
    xsd,
    pattern: /^[-+]?\d{1,19}$/,
    read: (text: string) => {
      const value = Number(text);
      if (value < least || value > most) throw invalidRequest(`${text} is out of the range of ${xsd}`);
      return value;
    },
  };
}

/** Reads the children of an element as the members of a type, in their order. `what` names it in messages. */
export function readMembers(element: XmlElement, members: readonly Member[], what: string): Struct {
  const result: Struct = {};
  let next = 0;
  if (element.text.trim() !== '') throw invalidRequest(`${what} has text between its elements`);
  for (const child of element.children) {
    if (child.namespace !== VIM25) {
      throw invalidRequest(`<${child.name}> of ${what} is in namespace "${child.namespace}", not ${VIM25}`);
    }
    const place = members.findIndex((member) => member.name === child.name);
    if (place < 0) throw invalidRequest(`Unexpected element tag "${child.name}" seen in ${what}`);
    const member = members[place]!;
    if (place < next - 1 || (place === next - 1 && !member.isList)) {
      throw invalidRequest(
        `Element tag "${child.name}" of ${what} stands in the wrong place: the order is ${members.map(({ name }) => name).join(', ')}`,
      );
    }
    for (const skipped of members.slice(next, place)) requireOptional(skipped, what);
    next = place + 1;
    const value = readValue(child, member, `${what}.${child.name}`);
    if (member.isList) {
      const list = result[member.name];
      if (Array.isArray(list)) list.push(value);
      else result[member.name] = [value];
    } else {
      result[member.name] = value;
    }
  }
  for (const missing of members.slice(next)) requireOptional(missing, what);
  return result;
}

function requireOptional(member: Member, what: string): void {
  if (!member.isOptional) throw invalidRequest(`Required element "${member.name}" of ${what} is missing`);
}

function readValue(element: XmlElement, declared: Pick<Member, 'type' | 'isReference'>, what: string): Value {
  if (declared.isReference) return readReference(element, declared.type, what);
  const actual = actualType(element, what);
  if (declared.type === 'anyType') {
    if (!actual) throw invalidRequest(`${what} can be of any type and needs xsi:type`);
    if (actual.type.startsWith('ArrayOf')) return readArray(element, actual.type.slice(7), what);
    if (actual.type === 'ManagedObjectReference') return readReference(element, 'ManagedObject', what);
    return readTyped(element, actual.type, what);
  }
  if (actual && actual.type !== declared.type && !isAlias(actual.type, declared.type)) {
    if (!isDataType(actual.type)) {
      throw new VimFault(
        'NotSupported',
        `the simulated vCenter does not know type ${actual.type} of ${what}`,
      );
    }
    if (!isKindOf(actual.type, declared.type)) {
      throw invalidRequest(`${what} is of type ${actual.type}, which is no ${declared.type}`);
    }
    return readTyped(element, actual.type, what);
  }
  return readTyped(element, declared.type, what);
}

function readTyped(element: XmlElement, type: string, what: string): Value {
  const simple = SIMPLE[type];
  const values = enumeration(type);
  if (simple || values) {
    if (element.children.length > 0)
      throw invalidRequest(`${what} has elements where a ${type} was expected`);
    if (values && !values.has(element.text)) {
      throw invalidRequest(
        `"${element.text}" is no ${type} (${what}): it is one of ${[...values].join(', ')}`,
      );
    }
    if (!simple) return element.text;
    const text = simple.xsd === 'string' ? element.text : element.text.trim();
    if (!simple.pattern.test(text)) throw invalidRequest(`"${text.slice(0, 64)}" is no ${type} (${what})`);
    return simple.read(text);
  }
  if (!isDataType(type)) {
    throw new VimFault('NotSupported', `the simulated vCenter does not know type ${type} of ${what}`);
  }
  return { ...readMembers(element, fields(type), what), $type: type };
}

function readArray(element: XmlElement, itemType: string, what: string): Value[] {
  const isReference = itemType === 'ManagedObjectReference';
  const type = isReference
    ? 'ManagedObject'
    : itemType.charAt(0).toLowerCase() + itemType.slice(1) in SIMPLE
      ? itemType.charAt(0).toLowerCase() + itemType.slice(1)
      : itemType;
  return element.children.map((child) => readValue(child, { type, isReference }, what));
}

function readReference(element: XmlElement, declared: string, what: string): MoRef {
  const type = element.attributes.get('type');
  if (!type) throw invalidRequest(`${what} refers to a managed object and needs the attribute type`);
  if (element.children.length > 0)
    throw invalidRequest(`${what} has elements where a reference was expected`);
  if (
    isManagedType(type) &&
    isManagedType(declared) &&
    !isKindOf(type, declared) &&
    !isKindOf(declared, type)
  ) {
    throw invalidRequest(`${what} refers to a ${type}, which is no ${declared}`);
  }
  return { $ref: type, id: element.text.trim() };
}

/** The type that xsi:type names, or null. Throws where the name is not in one of the two namespaces. */
function actualType(element: XmlElement, what: string): { type: string } | null {
  const text = element.attributes.get(`${XSI} type`);
  if (text === undefined) return null;
  const [prefix, name] = text.includes(':') ? (text.split(':') as [string, string]) : ['', text];
  const namespace = element.scope.get(prefix);
  if (namespace === VIM25) return { type: name };
  if (namespace === XSD && name in SIMPLE) return { type: name };
  throw invalidRequest(`xsi:type "${text}" of ${what} is in no namespace that is known here`);
}

/** True where both are the same on the wire: a PropertyPath is an xsd:string, as is an enumeration. */
function isAlias(actual: string, declared: string): boolean {
  if (enumeration(declared)) return actual === 'string';
  return SIMPLE[declared] !== undefined && SIMPLE[actual]?.xsd === SIMPLE[declared].xsd;
}

/** Writes a value as the element `tag`. `declared` null: a value of any type, whose own type is `valueType`. */
export function writeElement(tag: string, value: Value, declared: Member): string {
  if (Array.isArray(value)) return value.map((item) => writeOne(tag, item, declared)).join('');
  return writeOne(tag, value, declared);
}

/** Writes a value as an element of any type, which carries its own type: `type` is that of the property. */
export function writeAny(tag: string, value: Value, own: Member): string {
  if (!Array.isArray(value)) {
    if (isMoRef(value)) {
      return `<${tag} xsi:type="ManagedObjectReference" type="${value.$ref}">${escapeXml(value.id)}</${tag}>`;
    }
    if (own.type === 'anyType') return writeOne(tag, value, own);
    if (isStruct(value)) return writeStruct(tag, value, own.type, true);
    return `<${tag} xsi:type="${nameOnWire(own.type)}">${escapeXml(String(value))}</${tag}>`;
  }
  const item = own.isReference ? 'ManagedObjectReference' : own.type;
  const simple = SIMPLE[item]?.xsd;
  const name = simple ? simple.charAt(0).toUpperCase() + simple.slice(1) : item;
  const items = value.map((one) => {
    const itemTag = simple ?? item;
    if (isMoRef(one)) return writeAny(itemTag, one, own);
    return isStruct(one)
      ? writeStruct(itemTag, one, own.type, true)
      : `<${itemTag}>${escapeXml(String(one))}</${itemTag}>`;
  });
  return `<${tag} xsi:type="ArrayOf${name}">${items.join('')}</${tag}>`;
}

function writeOne(tag: string, value: Value, declared: Member): string {
  if (isStruct(value) && value.$type === RAW) return String(value.text);
  if (isMoRef(value) && declared.type === 'anyType') return writeAny(tag, value, declared);
  if (isMoRef(value)) return `<${tag} type="${value.$ref}">${escapeXml(value.id)}</${tag}>`;
  if (Array.isArray(value)) throw new TypeError(`${tag} is a list of lists`);
  if (isStruct(value)) return writeStruct(tag, value, declared.type, false);
  if (declared.type === 'anyType') {
    const type = typeof value === 'boolean' ? 'boolean' : typeof value === 'number' ? 'int' : 'string';
    return `<${tag} xsi:type="xsd:${type}">${escapeXml(String(value))}</${tag}>`;
  }
  return `<${tag}>${escapeXml(String(value))}</${tag}>`;
}

function writeStruct(tag: string, value: Struct, declared: string, isTypeWanted: boolean): string {
  const type = value.$type ?? declared;
  if (!isDataType(type)) throw new TypeError(`type ${type} of ${tag} is not in the table`);
  const members = fields(type);
  for (const name of Object.keys(value)) {
    if (name !== '$type' && !members.some((member) => member.name === name)) {
      throw new TypeError(`type ${type} has no field ${name}`);
    }
  }
  const content = members.map((member) => {
    const field = value[member.name];
    return field === undefined ? '' : writeElement(member.name, field, member);
  });
  const attribute = isTypeWanted || type !== declared ? ` xsi:type="${type}"` : '';
  return `<${tag}${attribute}>${content.join('')}</${tag}>`;
}

function nameOnWire(type: string): string {
  return SIMPLE[type] ? `xsd:${SIMPLE[type].xsd}` : type;
}
