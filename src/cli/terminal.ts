/** What a verb sees of the world around it, so that tests can stand in for a terminal. */

/** A stream that verbs print to. */
export interface Output {
  /** Bytes where a file is written to it. */
  write(text: string | Uint8Array): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/** What is typed, or read from a pipe. */
export interface Input extends AsyncIterable<Uint8Array | string> {
  readonly isTTY?: boolean | undefined;
  /** Keys one by one, and not shown. */
  setRawMode?(isRaw: boolean): unknown;
}

export interface Terminal {
  stdout: Output;
  stderr: Output;
  stdin: Input;
  /** The environment; options given before the verb are noted here, where the verb finds them. */
  env: Record<string, string | undefined>;
  /** Where labs keep `<lab>/client.json`. */
  runDirectory: string;
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  const { stdout, stderr, stdin, env } = process;
  return { stdout, stderr, stdin, env, runDirectory: '/run/weft' };
}

/** How many columns there are to print on. */
export function widthOf({ stdout, env }: Terminal): number {
  const columns = stdout.isTTY ? stdout.columns : Number(env.COLUMNS);
  return Math.max(60, columns || 120);
}

/** Colours are for people: on a terminal, unless NO_COLOR says otherwise (no-color.org). */
export function hasColour({ stdout, env }: Terminal): boolean {
  return stdout.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb';
}

/** Text without anything that could move a cursor: names in it may come from a hypervisor. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
}
