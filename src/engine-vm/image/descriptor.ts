/** The OVF descriptor: templates/engine.ovf with its placeholders filled in. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '../../policy/errors.ts';

/** What the template leaves open. Numbers are bytes. */
export interface DescriptorValues {
  product: string;
  version: string;
  fullVersion: string;
  diskFile: string;
  diskFileSize: number;
  diskCapacity: number;
  diskPopulatedSize: number;
}

/** The text of the template that comes with Weft. */
export function readDescriptorTemplate(): Promise<string> {
  return readFile(join(import.meta.dirname, '../../../templates/engine.ovf'), 'utf8');
}

/**
 * Fills in the placeholders, `{{name}}`, escaped for XML; everything else stays as it is. Throws ERR_USAGE where the
 * template names a value that there is not.
 */
export function stampDescriptor(template: string, values: DescriptorValues): string {
  return template.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    if (!Object.hasOwn(values, name)) {
      throw new WeftError('ERR_USAGE', `templates/engine.ovf asks for {{${name}}}, which there is not`);
    }
    return escapeXml(String(values[name as keyof DescriptorValues]));
  });
}

function escapeXml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
