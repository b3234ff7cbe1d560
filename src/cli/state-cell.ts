/** How the state of an object is shown in a table. */
import type { Cell } from './table.ts';

/** A state in the colour that says whether somebody should look. */
export function stateCell(state: string): Cell {
  if (['serving', 'observing', 'connected', 'ready', 'up', 'steady'].includes(state))
    return { text: state, colour: 'green' };
  if (['unreachable', 'silent', 'down', 'degraded', 'held', 'foreign'].includes(state))
    return { text: state, colour: 'red' };
  return { text: state === '' ? '-' : state, colour: state === '' ? 'dim' : 'yellow' };
}
