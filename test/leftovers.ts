/**
 * What a test run makes on the machine, noted before it is made, so that the next run removes what is left of one that
 * was killed. Loaded by mocha for every run (package.json).
 */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { takeDown } from '../src/cli/lab-down.ts';
import { existingNamespaces, labPaths } from '../src/lab/world/names.ts';
import { isAlive, refOf } from '../src/lab/world/process.ts';

/** One file a run, called `<pid>-<start time>`: names of labs, a line each. */
const NOTES = '/run/weft-tests';
const self = refOf(process.pid);
const note = join(NOTES, `${self.pid}-${self.startTime}`);
const noted = new Set<string>();

/** Notes that this run makes a lab of that name, or namespaces called `weft-<name>-...`. */
export function noteLab(name: string): void {
  if (noted.has(name) || process.getuid?.() !== 0) return;
  noted.add(name);
  mkdirSync(NOTES, { recursive: true, mode: 0o700 });
  appendFileSync(note, `${name}\n`);
}

/** The name of a lab of this run, noted. `letters` (one or two) tell its labs apart. */
export function ownLab(letters: string): string {
  const name = `${letters}${process.pid.toString(36)}`.slice(0, 8);
  noteLab(name);
  return name;
}

async function removeWhatDeadRunsLeft(): Promise<void> {
  for (const file of notes()) {
    const [pid, startTime] = file.split('-').map(Number) as [number, number];
    if (isAlive({ pid, startTime })) continue;
    for (const lab of readFileSync(join(NOTES, file), 'utf8').split('\n').filter(Boolean)) {
      await takeDown({
        lab,
        onProgress: (line) => console.log(`a test run that was killed: lab ${lab}: ${line}`),
      });
    }
    rmSync(join(NOTES, file));
  }
}

function notes(): string[] {
  try {
    return readdirSync(NOTES);
  } catch {
    return [];
  }
}

/** Each suite took down what it made. What one that failed left is named, and the next run's to remove. */
function sayWhatIsLeft(): void {
  if (noted.size === 0) return;
  const left = [...noted].filter(
    (lab) => existsSync(labPaths(lab).runDir) || existingNamespaces(lab).length > 0,
  );
  if (left.length > 0) {
    console.error(`left behind: ${left.map((lab) => `lab ${lab}`).join(', ')}; the next run removes it`);
    return;
  }
  rmSync(note, { force: true });
  try {
    rmdirSync(NOTES);
  } catch {
    // Other runs are under way.
  }
}

export const mochaHooks = {
  async beforeAll(this: Mocha.Context): Promise<void> {
    this.timeout(60_000);
    if (process.getuid?.() === 0) await removeWhatDeadRunsLeft();
    // After the handlers of what was loaded with the tests, which remove their namespaces.
    process.once('exit', sayWhatIsLeft);
  },
};
