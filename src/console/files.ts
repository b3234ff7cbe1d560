/**
 * What the console's web server hands out: the plug-in's manifest, as JSON and as a zip for newer vSphere Clients, and
 * the pages. Read once; TypeScript of the pages is served with its types stripped.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { zipOf } from './zip.ts';

export interface ServedFile {
  type: string;
  body: Buffer;
  etag: string;
}

export interface ConsoleFiles {
  /** By path below the server's root, without a leading slash. */
  files: ReadonlyMap<string, ServedFile>;
  /** Of everything that is served: another one means that the registered version is to be raised. */
  build: string;
}

const MANIFEST = join(import.meta.dirname, '../../plugin-manifest.json');
const PAGES = join(import.meta.dirname, 'pages');
const TYPES: Record<string, string> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  ts: 'text/javascript; charset=utf-8',
  png: 'image/png',
  svg: 'image/svg+xml',
};

/** Reads manifest and pages. */
export function readConsoleFiles(): ConsoleFiles {
  const manifest = readFileSync(MANIFEST);
  const files = new Map<string, ServedFile>();
  const add = (path: string, type: string, body: Buffer): void => {
    files.set(path, { type, body, etag: `"${digest(body).slice(0, 20)}"` });
  };
  add('plugin.json', 'application/json; charset=utf-8', manifest);
  const list = { manifestVersion: '1.0.0', manifests: ['plugin.json'] };
  const archive = zipOf([
    { name: 'plugin-multi-manifest.json', content: Buffer.from(`${JSON.stringify(list, null, 2)}\n`) },
    { name: 'plugin.json', content: manifest },
  ]);
  add('plugin.zip', 'application/zip', archive);
  for (const name of readdirSync(PAGES).sort()) {
    const type = TYPES[name.slice(name.lastIndexOf('.') + 1)];
    if (type === undefined) continue;
    const read = readFileSync(join(PAGES, name));
    const body = name.endsWith('.ts') ? Buffer.from(stripTypeScriptTypes(read.toString('utf8'))) : read;
    add(`pages/${name}`, type, body);
  }
  const build = digest([...files].map(([path, { etag }]) => `${path} ${etag}`).join('\n')).slice(0, 8);
  return { files, build };
}

function digest(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}
