/** What the platform itself must know of an OVF descriptor: the files it refers to. vCenter interprets the rest. */
import type { Refuse } from './ova-tar.ts';

export interface OvfReference {
  name: string;
  /** Null where the descriptor does not say. */
  sizeBytes: number | null;
}

/**
 * The files under References. Document types are refused: no descriptor needs one, and whoever expands entities
 * later is spared them.
 */
export function readDescriptor(text: string, refuse: Refuse): OvfReference[] {
  const plain = text.replaceAll(/<!--[\s\S]*?-->/g, '');
  if (/<!DOCTYPE|<!ENTITY|<!\[CDATA\[/i.test(plain)) {
    refuse('its descriptor declares a document type, entities or raw sections');
  }
  if (!/<(?:[\w.-]+:)?Envelope[\s>]/.test(plain)) refuse('its descriptor is not an OVF envelope');
  const sections = [...plain.matchAll(/<((?:[\w.-]+:)?References)\s*(?:\/>|>([\s\S]*?)<\/\1\s*>)/g)];
  if (sections.length !== 1) refuse('its descriptor does not have exactly one list of references');
  const references: OvfReference[] = [];
  for (const [, attributes] of (sections[0]![2] ?? '').matchAll(
    /<(?:[\w.-]+:)?File((?:\s+[\w.:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*\/?>/g,
  )) {
    const of = (name: string): string | undefined => {
      const match = new RegExp(`\\s(?:[\\w.-]+:)?${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)')`).exec(attributes!);
      return match?.[1] ?? match?.[2];
    };
    const href = of('href');
    if (href === undefined || !/^[\w][\w. ()+-]*$/.test(href)) {
      return refuse(`its descriptor refers to ${JSON.stringify(href ?? '')}, which is no plain file name`);
    }
    if (of('compression') || of('chunkSize'))
      refuse(`${href} is compressed or in pieces, which is not taken`);
    if (references.some(({ name }) => name === href)) refuse(`its descriptor refers to ${href} twice`);
    const size = of('size');
    if (size !== undefined && !/^\d{1,15}$/.test(size)) refuse(`the size of ${href} cannot be read`);
    references.push({ name: href, sizeBytes: size === undefined ? null : Number(size) });
  }
  return references;
}
