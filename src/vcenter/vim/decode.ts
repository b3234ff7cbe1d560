/**
 * Reads SOAP 1.1 answers by the table: what the table does not list is skipped, not kept, so that an answer costs only
 * the memory of what is asked of it. Types come from `xsi:type` under whatever prefix the peer declared.
 */
import { type Field, fieldsOf, isKindOf, type MethodName, parseField, VIM_METHODS } from './schema.ts';
import { type Element, XmlError, XmlReader } from './xml-reader.ts';

const SOAP = 'http://schemas.xmlsoap.org/soap/envelope/';
const VIM = 'urn:vim25';
const XSD = 'http://www.w3.org/2001/XMLSchema';

/** A SOAP fault: `name` is the vim25 type without prefix, or the SOAP fault code where there is no detail. */
export interface Fault {
  name: string;
  message: string;
  detail: Record<string, unknown>;
}

export type Answer = { result: unknown } | { fault: Fault };

/** The result of a call, or its fault. Throws XmlError for what is no answer to this method. */
export function decodeAnswer(method: MethodName, text: string): Answer {
  const reader = new XmlReader(text);
  const envelope = reader.root();
  if (envelope.local !== 'Envelope' || envelope.namespace !== SOAP) {
    throw new XmlError(`the root is <${envelope.local}> of "${envelope.namespace}", not a SOAP 1.1 envelope`);
  }
  let answer: Answer | null = null;
  for (let part = reader.child(); part; part = reader.child()) {
    if (part.local !== 'Body' || part.namespace !== SOAP) reader.skip();
    else {
      if (answer) throw new XmlError('there are two bodies');
      answer = decodeBody(reader, method);
    }
  }
  reader.end();
  if (!answer) throw new XmlError('the envelope has no body');
  return answer;
}

function decodeBody(reader: XmlReader, method: MethodName): Answer {
  const element = reader.child();
  if (!element) throw new XmlError('the body is empty');
  let answer: Answer;
  if (element.local === 'Fault' && element.namespace === SOAP) answer = { fault: decodeFault(reader) };
  else {
    if (element.namespace !== VIM || element.local !== `${method}Response`) {
      throw new XmlError(`<${element.local}> of "${element.namespace}" is no answer to ${method}`);
    }
    answer = { result: decodeResult(reader, VIM_METHODS[method].returns) };
  }
  if (reader.child()) throw new XmlError('something follows the answer');
  return answer;
}

function decodeResult(reader: XmlReader, notation: string | null): unknown {
  const field = parseField('returnval', notation ?? 'any?');
  const fields = notation === null ? [] : [field];
  return decodeFields(reader, fields).returnval ?? (field.isArray ? [] : undefined);
}

function decodeFault(reader: XmlReader): Fault {
  let message = '';
  let code = 'Fault';
  let detail: Record<string, unknown> | null = null;
  let name: string | null = null;
  for (let part = reader.child(); part; part = reader.child()) {
    if (part.local === 'faultstring') message = reader.content();
    else if (part.local === 'faultcode') code = reader.content();
    else if (part.local === 'detail') {
      for (let one = reader.child(); one; one = reader.child()) {
        name = one.type?.local ?? one.local.replace(/Fault$/, '');
        detail = decodeObject(reader, name, 'MethodFault');
      }
    } else reader.skip();
  }
  return { name: name ?? code.replace(/^.*:/, ''), message, detail: detail ?? {} };
}

/** The fields of the element that is open; its end is consumed. */
function decodeFields(reader: XmlReader, fields: readonly Field[]): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  // Fields come in order: the search goes on where the last one was found.
  let at = 0;
  for (let element = reader.child(); element; element = reader.child()) {
    let field: Field | undefined;
    for (let tried = 0; tried < fields.length; tried++) {
      const candidate = fields[(at + tried) % fields.length]!;
      if (candidate.name !== element.local) continue;
      field = candidate;
      at = (at + tried) % fields.length;
      break;
    }
    if (!field) reader.skip();
    else if (element.isNil) {
      reader.skip();
    } else if (field.isArray) {
      const values = object[field.name] as unknown[] | undefined;
      const value = decodeValue(reader, element, field.type);
      if (values) values.push(value);
      else object[field.name] = [value];
    } else object[field.name] = decodeValue(reader, element, field.type);
  }
  return object;
}

function decodeValue(reader: XmlReader, element: Element, declared: string): unknown {
  if (declared === 'any') return decodeAny(reader, element);
  if (declared === 'MoRef') return { type: element.refType ?? '', value: reader.content() };
  if (fieldsOf(declared)) return decodeObject(reader, element.type?.local ?? null, declared);
  return decodeScalar(declared, reader.content());
}

/** An object that says it is a `type`, where a `declared` is expected. */
function decodeObject(reader: XmlReader, type: string | null, declared: string): Record<string, unknown> {
  const fields =
    (type === null || !isKindOf(type, declared) ? undefined : fieldsOf(type)) ?? fieldsOf(declared)!;
  const object = decodeFields(reader, fields);
  if (type !== null) object.$type = type;
  return object;
}

function decodeAny(reader: XmlReader, element: Element): unknown {
  const type = element.type;
  if (!type || type.namespace === XSD) return decodeScalar(type?.local ?? 'string', anyText(reader));
  if (type.local === 'ManagedObjectReference')
    return { type: element.refType ?? '', value: reader.content() };
  if (type.local.startsWith('ArrayOf')) return decodeArray(reader, type.local.slice('ArrayOf'.length));
  const fields = fieldsOf(type.local);
  if (fields) return decodeObject(reader, type.local, type.local);
  // An enumeration is text; an object of a type that the table does not list keeps nothing but its type.
  if (reader.isText) return reader.content();
  reader.skip();
  return { $type: type.local };
}

function anyText(reader: XmlReader): string {
  if (reader.isText) return reader.content();
  reader.skip();
  return '';
}

function decodeArray(reader: XmlReader, of: string): unknown[] {
  const scalar = ARRAY_SCALARS[of];
  const values: unknown[] = [];
  for (let one = reader.child(); one; one = reader.child()) {
    if (scalar) values.push(decodeValue(reader, one, scalar));
    else if (fieldsOf(of)) values.push(decodeObject(reader, one.type?.local ?? null, of));
    else values.push(decodeAny(reader, { ...one, type: one.type ?? { local: of, namespace: VIM } }));
  }
  return values;
}

const ARRAY_SCALARS: Record<string, string> = {
  ManagedObjectReference: 'MoRef',
  String: 'string',
  Int: 'int',
  Long: 'long',
  Short: 'short',
  Byte: 'byte',
  Boolean: 'boolean',
  Double: 'double',
  AnyType: 'any',
};

function decodeScalar(type: string, text: string): unknown {
  switch (type) {
    case 'boolean':
      return text.trim() === 'true' || text.trim() === '1';
    case 'int':
    case 'long':
    case 'short':
    case 'byte':
    case 'double':
    case 'float': {
      const value = Number(text);
      if (Number.isNaN(value) && text.trim() !== 'NaN')
        throw new XmlError(`"${text.slice(0, 40)}" is no ${type}`);
      return value;
    }
    default:
      return text;
  }
}
