import assert from 'node:assert/strict';
import fc from 'fast-check';
import { table, wrap } from '../../src/cli/table.ts';
import { capturedTerminal } from './captured-terminal.ts';

describe('table', () => {
  it('loses no word and never exceeds the width where its columns may wrap', () => {
    const cells = fc.stringMatching(/^[a-z ]{0,120}$/);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(cells, cells), { maxLength: 5 }),
        fc.integer({ min: 60, max: 140 }),
        (rows, columns) => {
          const terminal = capturedTerminal({ isTTY: true, columns, env: { NO_COLOR: '1' } });
          const text = table(
            terminal,
            [
              { title: 'A', wraps: true },
              { title: 'B', wraps: true, share: 3 },
            ],
            rows,
          );
          assert.ok(text.split('\n').every((line) => line.length <= columns));
          const letters = (all: string) => [...all.replaceAll(/[^a-z]/g, '')].sort().join('');
          assert.equal(letters(text), letters(rows.flat().join('')));
        },
      ),
    );
  });

  it('puts numbers right and states in colour', () => {
    const terminal = capturedTerminal({ isTTY: true, columns: 80 });
    const text = table(
      terminal,
      [{ title: 'NAME' }, { title: 'C', isRight: true }],
      [
        ['a', '12345'],
        [{ text: 'b', colour: 'red' }, '1'],
      ],
    );
    assert.match(text, /^a +12345$/m);
    assert.ok(text.includes('\u001b[31mb   \u001b[0m      1'));
  });

  it('breaks words only where one alone is too long', () => {
    assert.deepEqual(wrap('one two three', 7), ['one two', 'three']);
    assert.deepEqual(wrap('abcdefghij k', 4), ['abcd', 'efgh', 'ij k']);
    assert.deepEqual(wrap('', 4), ['']);
  });
});
