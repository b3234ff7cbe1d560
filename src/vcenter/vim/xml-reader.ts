/**
 * A pull reader for the XML of SOAP answers: elements, attributes, text and namespaces, and nothing else.
 *
 * The answer is a stranger's: there are no document types, so no entities beyond the five of XML and character
 * references, nothing is ever loaded, and depth, attributes, namespaces and names are bounded. The caller bounds the length of the text.
 */

/** Thrown for everything that is not well-formed or not allowed. */
export class XmlError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'XmlError';
  }
}

export interface Element {
  /** Name without prefix. */
  local: string;
  /** Namespace, empty where there is none. */
  namespace: string;
  /** The type that an `xsi:type` attribute names, whatever its prefix; null where there is none. */
  type: { local: string; namespace: string } | null;
  /** The unprefixed attribute `type`, as references have it. */
  refType: string | null;
  isNil: boolean;
}

interface Scope {
  prefix: string;
  uri: string;
  depth: number;
}

export const XSI = 'http://www.w3.org/2001/XMLSchema-instance';
const MAX_DEPTH = 64;
const MAX_NAME = 256;
/** Each is looked at, and each namespace is kept and searched: without a bound a small answer would cost much. */
const MAX_ATTRIBUTES = 64;
const MAX_NAMESPACES = 256;

export class XmlReader {
  readonly #text: string;
  #at = 0;
  /** Local and full names of the elements that are open. */
  readonly #open: string[] = [];
  readonly #scopes: Scope[] = [];
  #isEmptyElement = false;

  constructor(text: string) {
    this.#text = text;
    if (text.charCodeAt(0) === 0xfeff) this.#at = 1;
    this.#skipProlog();
  }

  /**
   * The next child of the element that is open, whose start is consumed; or null where that element ends, whose end is
   * consumed. Text between is skipped.
   */
  child(): Element | null {
    if (this.#isEmptyElement) {
      this.#isEmptyElement = false;
      this.#leave();
      return null;
    }
    for (;;) {
      const open = this.#text.indexOf('<', this.#at);
      if (open < 0) throw new XmlError('the document ends inside an element');
      this.#at = open;
      const next = this.#text.charCodeAt(open + 1);
      if (next === SLASH) {
        this.#closeTag();
        return null;
      }
      if (next === BANG || next === QUESTION) this.#skipMarkup();
      else return this.#openTag();
    }
  }

  /** The text of the element that is open, which must hold no elements; its end is consumed. */
  content(): string {
    if (this.#isEmptyElement) {
      this.#isEmptyElement = false;
      this.#leave();
      return '';
    }
    let text = '';
    for (;;) {
      const open = this.#text.indexOf('<', this.#at);
      if (open < 0) throw new XmlError('the document ends inside an element');
      if (open > this.#at) text += unescapeXml(this.#text.slice(this.#at, open));
      this.#at = open;
      const next = this.#text.charCodeAt(open + 1);
      if (next === SLASH) {
        this.#closeTag();
        return text;
      }
      if (next !== BANG && next !== QUESTION) {
        throw new XmlError(`<${this.#open.at(-1)}> holds elements where text was expected`);
      }
      if (this.#text.startsWith('<![CDATA[', open)) {
        const end = this.#text.indexOf(']]>', open);
        if (end < 0) throw new XmlError('a CDATA section does not end');
        text += this.#text.slice(open + 9, end);
        this.#at = end + 3;
      } else this.#skipMarkup();
    }
  }

  /** Whether the element that is open holds text only. */
  get isText(): boolean {
    if (this.#isEmptyElement) return true;
    const next = this.#text.charCodeAt(this.#text.indexOf('<', this.#at) + 1);
    return next === SLASH || next === BANG;
  }

  /** Leaves the element that is open, with all it holds. */
  skip(): void {
    for (let depth = 1; depth > 0; ) depth += this.child() === null ? -1 : 1;
  }

  /** After the root has ended: nothing may follow. */
  end(): void {
    const rest = this.#text.slice(this.#at, this.#at + 4096).trim();
    if (rest !== '' && !rest.startsWith('<!--')) throw new XmlError('something follows the document');
  }

  /** The root element, whose start is consumed. */
  root(): Element {
    const open = this.#text.indexOf('<', this.#at);
    if (open < 0) throw new XmlError('it is no XML');
    if (this.#text.slice(this.#at, open).trim() !== '') throw new XmlError('text stands before the root');
    this.#at = open;
    return this.#openTag();
  }

  #skipProlog(): void {
    for (;;) {
      const open = this.#text.indexOf('<', this.#at);
      if (open < 0) return;
      const next = this.#text.charCodeAt(open + 1);
      if (next !== BANG && next !== QUESTION) return;
      this.#at = open;
      this.#skipMarkup();
    }
  }

  /** A comment, CDATA section or processing instruction. A document type is refused: it is where entities come from. */
  #skipMarkup(): void {
    const text = this.#text;
    const [from, close] = text.startsWith('<!--', this.#at)
      ? [this.#at + 4, '-->']
      : text.startsWith('<![CDATA[', this.#at)
        ? [this.#at + 9, ']]>']
        : text.startsWith('<?', this.#at)
          ? [this.#at + 2, '?>']
          : [0, ''];
    if (close === '') throw new XmlError('it declares a document type or entities, which are refused');
    const end = text.indexOf(close, from);
    if (end < 0) throw new XmlError('a comment or instruction does not end');
    this.#at = end + close.length;
  }

  #openTag(): Element {
    const text = this.#text;
    const nameEnd = endOfName(text, this.#at + 1);
    const name = text.slice(this.#at + 1, nameEnd);
    if (name === '') throw new XmlError('an element has no name');
    if (this.#open.length >= MAX_DEPTH) throw new XmlError(`elements are nested deeper than ${MAX_DEPTH}`);
    this.#open.push(name);
    this.#at = nameEnd;
    let typeAttributes: { prefix: string; local: string; value: string }[] | null = null;
    let refType: string | null = null;
    for (let attributes = 0; ; attributes++) {
      if (attributes > MAX_ATTRIBUTES)
        throw new XmlError(`an element has more than ${MAX_ATTRIBUTES} attributes`);
      this.#skipSpace();
      const code = text.charCodeAt(this.#at);
      if (code === CLOSE) {
        this.#at++;
        break;
      }
      if (code === SLASH && text.charCodeAt(this.#at + 1) === CLOSE) {
        this.#at += 2;
        this.#isEmptyElement = true;
        break;
      }
      const { name: attribute, value } = this.#attribute();
      if (attribute === 'xmlns' || attribute.startsWith('xmlns:')) {
        if (this.#scopes.length >= MAX_NAMESPACES) {
          throw new XmlError(`more than ${MAX_NAMESPACES} namespaces are declared`);
        }
        this.#scopes.push({ prefix: attribute.slice(6), uri: value, depth: this.#open.length });
      } else if (attribute === 'type') refType = value;
      else {
        const colon = attribute.indexOf(':');
        const local = attribute.slice(colon + 1);
        if (colon > 0 && (local === 'type' || local === 'nil')) {
          typeAttributes ??= [];
          typeAttributes.push({ prefix: attribute.slice(0, colon), local, value });
        }
      }
    }
    const [prefix, local] = split(name);
    const element: Element = { local, namespace: this.#resolve(prefix), type: null, refType, isNil: false };
    for (const one of typeAttributes ?? []) {
      if (this.#resolve(one.prefix) !== XSI) continue;
      if (one.local === 'nil') element.isNil = one.value === 'true' || one.value === '1';
      else {
        const [typePrefix, typeLocal] = split(one.value.trim());
        element.type = { local: typeLocal, namespace: this.#resolve(typePrefix) };
      }
    }
    return element;
  }

  #attribute(): { name: string; value: string } {
    const text = this.#text;
    const end = endOfName(text, this.#at);
    const name = text.slice(this.#at, end);
    this.#at = end;
    this.#skipSpace();
    if (name === '' || text[this.#at] !== '=') throw new XmlError('an attribute is malformed');
    this.#at++;
    this.#skipSpace();
    const quote = text[this.#at];
    if (quote !== '"' && quote !== "'") throw new XmlError('an attribute has no quotes');
    const close = text.indexOf(quote, this.#at + 1);
    if (close < 0) throw new XmlError('an attribute does not end');
    const value = unescapeXml(text.slice(this.#at + 1, close));
    this.#at = close + 1;
    return { name, value };
  }

  #closeTag(): void {
    const end = this.#text.indexOf('>', this.#at);
    if (end < 0) throw new XmlError('the document ends inside a tag');
    const expected = this.#open.at(-1)!;
    const start = this.#at + 2;
    const isExact = end - start === expected.length && this.#text.startsWith(expected, start);
    if (!isExact && this.#text.slice(start, end).trimEnd() !== expected) {
      throw new XmlError(`<${expected}> is closed by something else`);
    }
    this.#at = end + 1;
    this.#leave();
  }

  #leave(): void {
    const depth = this.#open.length;
    this.#open.pop();
    while (this.#scopes.length > 0 && this.#scopes.at(-1)!.depth >= depth) this.#scopes.pop();
  }

  #resolve(prefix: string): string {
    for (let index = this.#scopes.length - 1; index >= 0; index--) {
      const scope = this.#scopes[index]!;
      if (scope.prefix === prefix) return scope.uri;
    }
    if (prefix === '') return '';
    throw new XmlError(`the prefix "${prefix.slice(0, 40)}" is not declared`);
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return;
      this.#at++;
    }
  }
}

const SLASH = 47;
const BANG = 33;
const QUESTION = 63;
const CLOSE = 62;

/** Ends at white space, `/`, `>`, `=`, or the end of the text, which is an error. */
function endOfName(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code <= 32 || code === SLASH || code === CLOSE || code === 61) return at;
    if (code === 60 || code === 34 || code === 39) break;
    if (at - from > MAX_NAME) throw new XmlError('a name is too long');
  }
  throw new XmlError('a tag does not end');
}

function split(name: string): [prefix: string, local: string] {
  const colon = name.indexOf(':');
  return colon < 0 ? ['', name] : [name.slice(0, colon), name.slice(colon + 1)];
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  let amp = text.indexOf('&');
  if (amp < 0) return text;
  // In portions: millions of pieces, each a string of its own, would be a hundred times what they say.
  let done = '';
  let portion = '';
  let from = 0;
  for (; amp >= 0; amp = text.indexOf('&', from)) {
    const end = text.indexOf(';', amp);
    if (end < 0 || end - amp > MAX_ENTITY) throw new XmlError('an entity does not end');
    portion += text.slice(from, amp) + characterOf(text.slice(amp + 1, end));
    from = end + 1;
    if (portion.length > PORTION) {
      done += flat(portion);
      portion = '';
    }
  }
  return done + portion + text.slice(from);
}

const MAX_ENTITY = 13;
const PORTION = 1 << 14;

/** The same text, no longer made of the pieces that it was put together from. */
function flat(text: string): string {
  return Buffer.from(text, 'utf16le').toString('utf16le');
}

function characterOf(name: string): string {
  const known = Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : undefined;
  if (known !== undefined) return known;
  const match = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(name);
  const code = match ? Number.parseInt(match[1] ?? match[2]!, match[1] === undefined ? 10 : 16) : -1;
  if (code < 1 || code > 0x10ffff) throw new XmlError(`the entity &${name}; is refused`);
  return String.fromCodePoint(code);
}
