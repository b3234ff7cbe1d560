import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { PAGES, pageText } from '../../src/cli/docs.ts';

describe('generated docs', () => {
  for (const page of PAGES) {
    it(`docs/${page.file} equals the code`, () => {
      const text = readFileSync(new URL(`../../docs/${page.file}`, import.meta.url), 'utf8');
      assert.equal(text, pageText(page, text), 'run "npm run docs"');
    });
  }

  it('keep what a person wrote around the made part', () => {
    const page = { file: 'x.md', title: '# X', make: () => 'new' };
    const first = pageText({ ...page, make: () => 'old' }, '');
    assert.match(first, /^# X\n\n<!-- .*\n\nold\n\n<!-- .*\n$/);
    const edited = `${first.replace('# X', '# My X')}\nMore.\n`;
    assert.equal(pageText(page, edited), edited.replace('\nold\n', '\nnew\n'));
  });
});
