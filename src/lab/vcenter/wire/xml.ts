/**
 * Reads XML as far as SOAP and OVF descriptors need it: elements, attributes, text, namespaces. Document types,
 * processing instructions and entities beyond the five of XML are refused, and size and depth are bounded, so that a
 * hostile document costs no more than its own length.
 */

const MAX_DEPTH = 64;
const MAX_ELEMENTS = 50_000;
const MAX_ATTRIBUTES = 64;
const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

export interface XmlElement {
  namespace: string;
  name: string;
  /** By `namespace name`, or the name alone where the attribute has no prefix. */
  attributes: Map<string, string>;
  children: XmlElement[];
  text: string;
  /** Namespace of each prefix in scope here, for names in values; '' is the default namespace. */
  scope: ReadonlyMap<string, string>;
}

/** What was sent is no acceptable XML; the message says where. */
export class XmlError extends Error {}

/** The root element of a document. Throws XmlError. */
export function parseXml(text: string): XmlElement {
  let at = 0;
  let elements = 0;
  let root: XmlElement | null = null;
  const open: { element: XmlElement; qualified: string }[] = [];
  const token =
    /<!\[CDATA\[([\s\S]*?)\]\]>|<!--[\s\S]*?-->|<\?xml\s[^>]*\?>|<\/([^\s<>/]+)\s*>|<([^\s<>/!?=]+)((?:\s+[^\s<>/=]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>/y;
  const fail = (what: string): never => {
    throw new XmlError(`${what} at character ${at}`);
  };

  if (text.charCodeAt(0) === 0xfeff) at = 1;
  while (at < text.length) {
    const next = text.indexOf('<', at);
    const content = text.slice(at, next < 0 ? text.length : next);
    if (content !== '') {
      const top = open.at(-1);
      if (top) top.element.text += unescapeXml(content, fail);
      else if (content.trim() !== '') fail('text outside of the root element');
    }
    if (next < 0) break;
    at = next;
    token.lastIndex = at;
    const match = token.exec(text);
    if (!match) return fail('markup that is not understood');
    const [whole, data, closing, opening, attributeText, selfClosing] = match;
    if (data !== undefined) {
      const top = open.at(-1);
      if (!top) fail('text outside of the root element');
      top!.element.text += data;
    } else if (closing !== undefined) {
      const top = open.pop();
      if (top?.qualified !== closing) fail(`</${closing}> closes nothing`);
    } else if (opening !== undefined) {
      if (root && open.length === 0) fail('a second root element');
      if (++elements > MAX_ELEMENTS) fail('too many elements');
      if (open.length >= MAX_DEPTH) fail('elements nested too deeply');
      const element = readElement(
        opening,
        attributeText ?? '',
        open.at(-1)?.element.scope ?? new Map(),
        fail,
      );
      open.at(-1)?.element.children.push(element);
      root ??= element;
      if (!selfClosing) open.push({ element, qualified: opening });
    } else if (whole.startsWith('<?') && at > 1) {
      fail('a declaration that is not at the beginning');
    }
    at += whole.length;
  }
  if (open.length > 0) fail(`<${open.at(-1)!.qualified}> is not closed`);
  return root ?? fail('no element');
}

/** Text that is safe between tags and in attributes. Characters that XML cannot carry are left out. */
export function escapeXml(text: string): string {
  return (
    text
      .replaceAll(/[&<>"\r]/g, (character) => `&#${character.charCodeAt(0)};`)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these are what XML 1.0 forbids.
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '')
  );
}

/** The first child of that name, whatever its namespace. */
export function childOf(element: XmlElement, name: string): XmlElement | undefined {
  return element.children.find((child) => child.name === name);
}

function readElement(
  qualified: string,
  attributeText: string,
  outer: ReadonlyMap<string, string>,
  fail: (what: string) => never,
): XmlElement {
  const raw: [string, string][] = [];
  for (const [, name, double, single] of attributeText.matchAll(/([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)) {
    raw.push([name!, unescapeXml(double ?? single ?? '', fail)]);
    if (raw.length > MAX_ATTRIBUTES) fail('too many attributes');
  }
  let scope = outer;
  const declared = raw.filter(([name]) => name === 'xmlns' || name.startsWith('xmlns:'));
  if (declared.length > 0) {
    if (outer.size + declared.length > MAX_ATTRIBUTES) fail('too many namespaces');
    scope = new Map([...outer, ...declared.map(([name, value]) => [name.slice(6), value] as const)]);
  }
  const attributes = new Map<string, string>();
  for (const [name, value] of raw) {
    if (name === 'xmlns' || name.startsWith('xmlns:')) continue;
    const [prefix, local] = split(name);
    const key = prefix ? `${namespaceOf(prefix, scope, fail)} ${local}` : local;
    if (attributes.has(key)) fail(`attribute ${name} twice`);
    attributes.set(key, value);
  }
  const [prefix, name] = split(qualified);
  return {
    namespace: prefix ? namespaceOf(prefix, scope, fail) : (scope.get('') ?? ''),
    name,
    attributes,
    children: [],
    text: '',
    scope,
  };
}

function split(qualified: string): [string, string] {
  const colon = qualified.indexOf(':');
  return colon < 0 ? ['', qualified] : [qualified.slice(0, colon), qualified.slice(colon + 1)];
}

function namespaceOf(
  prefix: string,
  scope: ReadonlyMap<string, string>,
  fail: (what: string) => never,
): string {
  if (prefix === 'xml') return 'http://www.w3.org/XML/1998/namespace';
  return scope.get(prefix) ?? fail(`prefix ${prefix} is not declared`);
}

function unescapeXml(text: string, fail: (what: string) => never): string {
  if (!text.includes('&')) return text;
  return text.replaceAll(/&([^;&]{0,10});?/g, (whole, name: string) => {
    if (!whole.endsWith(';')) return fail('an & that begins no entity');
    const number = /^#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}))$/.exec(name);
    if (number) {
      const code = number[1] ? Number.parseInt(number[1], 16) : Number(number[2]);
      return code > 0 && code <= 0x10ffff
        ? String.fromCodePoint(code)
        : fail('a character that does not exist');
    }
    return ENTITIES[name] ?? fail(`entity &${name}; is not known`);
  });
}
