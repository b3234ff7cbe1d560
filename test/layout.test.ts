/** The walls of docs/design held by reading the code: who may import whom, what files may be called, what docs must say. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { ERROR_CODES } from '../src/policy/errors.ts';
import { KINDS } from '../src/policy/registry.ts';

const ROOT = resolve(import.meta.dirname, '..');
const SRC = join(ROOT, 'src');

/** Folder of src: folders that it may import, besides itself. A folder that is not here may import nobody. */
const WALLS: Record<string, readonly string[]> = {
  packet: [],
  policy: [],
  hypervisor: ['policy'],
  state: ['policy'],
  pki: ['policy', 'state'],
  lab: ['hypervisor', 'policy'],
  vcenter: ['hypervisor', 'policy'],
  hyperv: ['hypervisor', 'policy'],
  attract: ['policy', 'packet'],
  analytics: ['policy', 'state'],
  api: ['policy', 'state'],
  controller: ['policy', 'packet', 'hypervisor', 'state', 'pki', 'api'],
  'engine-vm': ['policy', 'packet', 'state', 'pki', 'attract'],
  console: ['policy'],
  cli: ['policy'],
  'main.ts': ['cli'],
};

/** The entry verbs, which wire programs together; `weft docs` prints the engine's table of drops, `weft image` builds its appliance. */
const isEntryVerb = (file: string): boolean =>
  /^cli\/(engine|controller|cloud|cloud-add|certificate-at|docs|image|backup(-keeper)?|plugin|proxy|console-server|cloud-users|lab(-[\w-]+)?)\.ts$/.test(
    file,
  ) || file.startsWith('cli/lab-run/');

interface Import {
  from: string;
  to: string;
}

describe('the layout of the code', () => {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  const imports = files.flatMap(importsOf);

  it('is read at all: imports of every form are seen', () => {
    assert.ok(imports.some(({ from, to }) => from === 'main.ts' && to === 'cli/program.ts'));
    assert.ok(
      imports.some(({ from, to }) => from === 'cli/verbs.ts' && to === 'cli/get.ts'),
      'import()',
    );
    assert.ok(
      imports.some(({ from, to }) => from === 'policy/registry.ts' && to === 'policy/kind.ts'),
      'import type',
    );
  });

  it('has dependencies that point one way', () => {
    const broken = imports
      .filter(({ from, to }) => {
        const [here, there] = [folderOf(from), folderOf(to)];
        return here !== there && !isEntryVerb(from) && !WALLS[here]?.includes(there);
      })
      .map(({ from, to }) => `${from} imports ${to}`);
    assert.deepEqual(broken, []);
  });

  it('has no file or folder whose name says nothing', () => {
    const names = /(^|[-/])(util|utils|helper|helpers|common|misc|manager|managers)([-./]|$)/;
    const all = [...files, ...readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })];
    assert.deepEqual(
      all.filter((file) => names.test(file)),
      [],
    );
  });

  it('names files in kebab case', () => {
    assert.deepEqual(
      files.filter((file) => !/^([a-z0-9]+(-[a-z0-9]+)*\/)*[a-z0-9]+(-[a-z0-9]+)*\.ts$/.test(file)),
      [],
    );
  });

  it('begins every file with what it is for', () => {
    assert.deepEqual(
      files.filter((file) => !/^(#!.*\n)?\/\*\*/.test(read(file))),
      [],
    );
  });

  it('imports only files that are there, inside src', () => {
    const lost = imports.filter(({ to }) => to.startsWith('..') || !existsSync(join(SRC, to)));
    assert.deepEqual(lost, []);
  });

  it('has a README in every folder of src', () => {
    const folders = readdirSync(SRC, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
    assert.deepEqual(
      folders.filter((folder) => !existsSync(join(SRC, folder, 'README.md'))),
      [],
    );
  });

  it('documents every error code, and no other, and uses every one', () => {
    const documented = [
      ...readFileSync(join(ROOT, 'docs/errors.md'), 'utf8').matchAll(/^\| `(ERR_\w+)`/gm),
    ].map(([, code]) => code);
    assert.deepEqual(documented, Object.keys(ERROR_CODES));
    const text = files
      .filter((file) => file !== 'policy/errors.ts')
      .map((file) => withoutComments(read(file)))
      .join('\n');
    const used = new Set([...text.matchAll(/\bERR_[A-Z_]+/g)].map(([code]) => code));
    assert.deepEqual(
      Object.keys(ERROR_CODES).filter((code) => !used.has(code)),
      [],
    );
  });

  it('documents every kind', () => {
    const page = readFileSync(join(ROOT, 'docs/policy.md'), 'utf8');
    const sections = [...page.matchAll(/^## (.+)$/gm)].map(([, name]) => name);
    assert.deepEqual(
      sections,
      KINDS.map(({ name }) => name),
    );
  });

  it('has docs whose links lead somewhere', () => {
    const pages = ['README.md', ...markdownIn('docs'), ...markdownIn('src')];
    const broken = pages.flatMap((page) =>
      [...readFileSync(join(ROOT, page), 'utf8').matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
        .map(([, target]) => target!)
        .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(join(ROOT, dirname(page), target)))
        .map((target) => `${page}: ${target}`),
    );
    assert.deepEqual(broken, []);
  });
});

function read(file: string): string {
  return readFileSync(join(SRC, file), 'utf8');
}

function withoutComments(text: string): string {
  return text.replaceAll(/^\s*(\*|\/\*|\/\/).*$/gm, '');
}

function folderOf(file: string): string {
  return file.split('/')[0]!;
}

/** Imports of our own files: static, `import type`, re-exports, `import()` and `new URL(..., import.meta.url)` alike. */
function importsOf(file: string): Import[] {
  const text = withoutComments(read(file));
  const found = [
    ...text.matchAll(/\b(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g),
    ...text.matchAll(/new URL\(\s*['"](\.{0,2}\/?[\w./-]+\.ts)['"],\s*import\.meta\.url/g),
  ];
  return found.map(([, specifier]) => ({
    from: file,
    to: relative(SRC, resolve(SRC, dirname(file), specifier!)),
  }));
}

function markdownIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => join(folder, file));
}
