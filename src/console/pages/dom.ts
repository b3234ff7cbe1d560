/** Building pages: elements with text, never markup, so that no name from an inventory can become one. */

export type Child = Node | string | null;

/** An element of a class with children; text is text. */
export function el(name: string, className = '', ...children: Child[]): HTMLElement {
  const element = document.createElement(name);
  if (className !== '') element.className = className;
  for (const child of children) if (child !== null) element.append(child);
  return element;
}

/** A state as a coloured label; the colour says whether somebody should look. */
export function badge(state: string): HTMLElement {
  const good = ['serving', 'observing', 'connected', 'ready', 'up', 'alive', 'on'];
  const bad = ['unreachable', 'silent', 'down', 'degraded', 'absent', 'held'];
  const tone = good.includes(state) ? 'good' : bad.includes(state) ? 'bad' : 'warn';
  return el('span', `badge ${tone}`, state);
}

/** Names and values, one pair a line. */
export function facts(...pairs: [string, Child][]): HTMLElement {
  const list = el('dl', 'facts');
  for (const [name, value] of pairs) list.append(el('dt', '', name), el('dd', '', value ?? '-'));
  return list;
}

/** A table with a caption for readers of the screen; where there are no rows, the sentence that says so. */
export function table(title: string, heads: string[], rows: Child[][], none: string): HTMLElement {
  const section = el('section', '', el('h2', '', title));
  if (rows.length === 0) {
    section.append(el('p', 'none', none));
    return section;
  }
  const body = el('tbody');
  for (const row of rows) body.append(el('tr', '', ...row.map((cell) => el('td', '', cell))));
  const head = el('tr');
  for (const text of heads) {
    const cell = el('th', '', text);
    cell.setAttribute('scope', 'col');
    head.append(cell);
  }
  const whole = el('table', '', el('caption', '', title), el('thead', '', head), body);
  section.append(el('div', 'scroll', whole));
  return section;
}

/** A message that stands out. */
export function notice(tone: 'info' | 'warn' | 'bad', text: string): HTMLElement {
  const box = el('p', `notice ${tone}`, text);
  box.setAttribute('role', tone === 'bad' ? 'alert' : 'status');
  return box;
}

/** A number for people; what nobody can say is a question mark, never 0. */
export function number(value: number | null): string {
  return value === null ? '?' : value.toLocaleString('en-US');
}

/** Milliseconds for people. */
export function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
