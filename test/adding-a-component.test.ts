/** docs/adding-a-component.md shows code that is there: of HTTP components word for word. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

describe('docs/adding-a-component.md', () => {
  it('shows the component of HTTP and its line as they are', () => {
    const [, page] = read('docs/adding-a-component.md').split('# Adding a component of HTTP\n');
    const blocks = [...page!.matchAll(/```ts\n(.*?)```/gs)].map(({ 1: code, index }) => ({
      code: code!,
      file: [...page!.slice(0, index).matchAll(/`(src\/[^`]+\.ts)`/g)].at(-1)![1]!,
    }));
    assert.equal(blocks.length, 2);
    for (const { file, code } of blocks) assert.ok(read(file).includes(code), `${file} has no\n${code}`);
  });
});
