/** SOAP envelopes: a request becomes a method, its object and its arguments; an answer or a fault becomes text. */
import { isKindOf, type Member, type MethodType, methodType, property } from '../schema/notation.ts';
import { readMembers, VIM25, writeAny, writeElement } from './codec.ts';
import { invalidRequest, VimFault } from './fault.ts';
import type { MoRef, Struct, Value } from './values.ts';
import { childOf, escapeXml, parseXml, XmlError } from './xml.ts';

const SOAP = 'http://schemas.xmlsoap.org/soap/envelope/';
const THIS: Member = {
  name: '_this',
  type: 'ManagedObject',
  isReference: true,
  isList: false,
  isOptional: false,
};
/** The one method that is in no published schema: pyvmomi reads single properties by it. */
const FETCH: MethodType = {
  owner: 'ManagedObject',
  name: 'Fetch',
  parameters: [{ name: 'prop', type: 'string', isReference: false, isList: false, isOptional: false }],
  result: null,
};

export interface SoapCall {
  method: MethodType;
  self: MoRef;
  args: Struct;
}

/** Reads a request. Throws VimFault: InvalidRequest, MethodNotFound, NotSupported. */
export function readCall(body: string): SoapCall {
  const envelope = parsed(body);
  if (envelope.namespace !== SOAP || envelope.name !== 'Envelope') {
    throw invalidRequest('the request is no SOAP 1.1 envelope');
  }
  const content = childOf(envelope, 'Body');
  const operation = content?.children[0];
  if (content?.namespace !== SOAP || !operation || content.children.length !== 1) {
    throw invalidRequest('the SOAP body does not hold exactly one operation');
  }
  if (operation.namespace !== VIM25) {
    throw invalidRequest(
      `the operation ${operation.name} is in namespace "${operation.namespace}", not ${VIM25}`,
    );
  }
  const method = operation.name === 'Fetch' ? FETCH : methodType(operation.name);
  if (!method) throw invalidRequest(`Unable to resolve WSDL method name ${operation.name}`);
  const { _this: self, ...args } = readMembers(operation, [THIS, ...method.parameters], operation.name);
  const ref = self as MoRef;
  if (!isKindOf(ref.$ref, method.owner) && method !== FETCH) {
    throw new VimFault('MethodNotFound', `${ref.$ref} has no method ${method.name}`, {
      receiver: ref,
      method: method.name,
    });
  }
  return { method, self: ref, args };
}

/** The answer to a call: what the method returned, undefined for nothing. */
export function writeAnswer(call: SoapCall, result: Value | undefined): string {
  const { method, self, args } = call;
  const member = method === FETCH ? property(self.$ref, String(args.prop)) : method.result;
  let content = '';
  if (result !== undefined && member) {
    content =
      method === FETCH ? writeAny('returnval', result, member) : writeElement('returnval', result, member);
  }
  return envelopeOf(`<${method.name}Response xmlns="${VIM25}">${content}</${method.name}Response>`);
}

/** A SOAP fault with typed detail. */
export function writeFault(fault: VimFault): string {
  const detail = writeElement(`${fault.type}Fault`, fault.struct(), {
    ...THIS,
    type: 'MethodFault',
    isReference: false,
  }).replace('>', ` xmlns="${VIM25}">`);
  return envelopeOf(
    `<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>${escapeXml(fault.message)}</faultstring><detail>${detail}</detail></soapenv:Fault>`,
  );
}

function parsed(body: string) {
  try {
    return parseXml(body);
  } catch (error) {
    if (error instanceof XmlError) throw invalidRequest(`the request is no XML: ${error.message}`);
    throw error;
  }
}

function envelopeOf(content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:soapenv="${SOAP}" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>${content}</soapenv:Body></soapenv:Envelope>`;
}
