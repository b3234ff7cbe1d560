/** Writes vim25 calls as SOAP 1.1: fields in the order of the table, whatever the order in JavaScript. */
import { WeftError } from '../../policy/errors.ts';
import {
  type Field,
  fieldsOf,
  isKindOf,
  type MethodName,
  type MoRef,
  parseField,
  VIM_METHODS,
} from './schema.ts';

/** The fields of a method's arguments, in wire order. */
function argumentsOf(method: MethodName): Field[] {
  return Object.entries(VIM_METHODS[method].args as Record<string, string>).map(([name, notation]) =>
    parseField(name, notation),
  );
}

/**
 * The envelope of one call. `operationId` is written into vCenter's logs beside what the call did.
 * Throws ERR_INTERNAL where a required field is missing, or a value does not fit the table: a defect of the caller.
 */
export function encodeCall(target: MoRef, method: MethodName, args: object, operationId: string): string {
  const values = args as Record<string, unknown>;
  const fields = argumentsOf(method);
  refuseUnknown(values, fields, method);
  let body = `<_this type="${escapeXml(target.type)}">${escapeXml(target.value)}</_this>`;
  for (const field of fields) body += encodeField(field, values[field.name], method);
  return (
    '<?xml version="1.0" encoding="UTF-8"?>' +
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" ' +
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">' +
    `<soapenv:Header><operationID xmlns="urn:vim25">${escapeXml(operationId)}</operationID></soapenv:Header>` +
    `<soapenv:Body><${method} xmlns="urn:vim25">${body}</${method}></soapenv:Body></soapenv:Envelope>`
  );
}

function encodeField(field: Field, value: unknown, owner: string): string {
  if (value === undefined || value === null) {
    if (field.isOptional || field.isArray) return '';
    throw defect(`${owner}.${field.name} is required`);
  }
  if (!field.isArray) return encodeElement(field.name, field.type, value, owner);
  if (!Array.isArray(value)) throw defect(`${owner}.${field.name} is a list`);
  return value.map((one) => encodeElement(field.name, field.type, one, owner)).join('');
}

function encodeElement(name: string, type: string, value: unknown, owner: string): string {
  if (type === 'any') return encodeAny(name, value, owner);
  if (type === 'MoRef') {
    const ref = value as MoRef;
    if (typeof ref?.type !== 'string' || typeof ref.value !== 'string') {
      throw defect(`${owner}.${name} is a reference`);
    }
    return `<${name} type="${escapeXml(ref.type)}">${escapeXml(ref.value)}</${name}>`;
  }
  if (fieldsOf(type)) return encodeObject(name, type, value, owner, false);
  return `<${name}>${encodeScalar(type, value, `${owner}.${name}`)}</${name}>`;
}

function encodeObject(
  name: string,
  declared: string,
  value: unknown,
  owner: string,
  mustSayType: boolean,
): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw defect(`${owner}.${name} is a ${declared}`);
  }
  const object = value as Record<string, unknown>;
  const type = typeof object.$type === 'string' ? object.$type : declared;
  const fields = fieldsOf(type);
  if (!fields || !isKindOf(type, declared)) {
    throw defect(`${owner}.${name}: ${type} cannot be written as ${declared}`);
  }
  refuseUnknown(object, fields, type);
  const attribute =
    mustSayType || type !== declared ? ` xmlns:vim25="urn:vim25" xsi:type="vim25:${type}"` : '';
  return `<${name}${attribute}>${fields.map((field) => encodeField(field, object[field.name], type)).join('')}</${name}>`;
}

/** The type goes onto the wire: it is that of the JavaScript value, or `$type`. */
function encodeAny(name: string, value: unknown, owner: string): string {
  switch (typeof value) {
    case 'string':
      return `<${name} xsi:type="xsd:string">${escapeXml(value)}</${name}>`;
    case 'boolean':
      return `<${name} xsi:type="xsd:boolean">${value}</${name}>`;
    case 'number': {
      const type = !Number.isInteger(value) ? 'double' : Math.abs(value) < 2 ** 31 ? 'int' : 'long';
      return `<${name} xsi:type="xsd:${type}">${value}</${name}>`;
    }
  }
  const { type, value: id, $type } = (value ?? {}) as { type?: unknown; value?: unknown; $type?: unknown };
  if ($type === undefined && typeof type === 'string' && typeof id === 'string') {
    return (
      `<${name} xmlns:vim25="urn:vim25" xsi:type="vim25:ManagedObjectReference" type="${escapeXml(type)}">` +
      `${escapeXml(id)}</${name}>`
    );
  }
  if (typeof $type !== 'string') throw defect(`${owner}.${name} has no type`);
  return encodeObject(name, $type, value, owner, true);
}

function encodeScalar(type: string, value: unknown, path: string): string {
  switch (type) {
    case 'boolean':
      if (typeof value === 'boolean') return String(value);
      break;
    case 'int':
    case 'long':
    case 'short':
    case 'byte':
      if (Number.isSafeInteger(value)) return String(value);
      break;
    case 'double':
    case 'float':
      if (Number.isFinite(value)) return String(value);
      break;
    default:
      if (typeof value === 'string') return escapeXml(value);
  }
  throw defect(`${path} is a ${type}, not ${typeof value}`);
}

/** A misspelt field would otherwise be left out in silence, and vCenter would leave that setting as it was. */
function refuseUnknown(object: Record<string, unknown>, fields: readonly Field[], owner: string): void {
  for (const name of Object.keys(object)) {
    if (name === '$type' || object[name] === undefined || fields.some((field) => field.name === name))
      continue;
    throw defect(`${owner} has no field ${name}`);
  }
}

function escapeXml(text: string): string {
  // Characters that XML 1.0 cannot hold at all would make vCenter refuse the whole call.
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replace(/[&<>"\r]/g, (char) => ESCAPES[char]!);
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
};

function defect(message: string): WeftError {
  return new WeftError('ERR_INTERNAL', `a vim25 call is malformed: ${message}`);
}
