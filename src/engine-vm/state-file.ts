/**
 * What an engine keeps on its disk: the last good graph, so that it works before any controller answers, and the
 * count of its boots, so that what it said in an earlier life is not mistaken for news.
 */
import { randomInt } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WeftError } from '../policy/errors.ts';
import type { ServiceGraph } from '../policy/graph.ts';

/** Writes the whole text or nothing, durably: a crash at any point leaves the old file or the new one. */
async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  try {
    const file = await open(temporary, 'w', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    const directory = await open(dirname(path));
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (cause) {
    throw new WeftError('ERR_STORE_WRITE', `${path} cannot be written: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Parsed JSON, or undefined where there is no file. What cannot be parsed is set aside beside it as `.corrupt`. */
async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
  try {
    return JSON.parse(text);
  } catch {
    await rename(path, `${path}.corrupt`);
    return undefined;
  }
}

/** Makes the directory that the other functions write to, readable by its owner only. */
export async function makeStateDirectory(stateDir: string): Promise<void> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
}

/** Keeps a graph that is in force. Throws ERR_STORE_WRITE. */
export async function keepGraph(stateDir: string, graph: ServiceGraph): Promise<void> {
  await replaceFile(join(stateDir, 'graph.json'), JSON.stringify(graph));
}

/** The graph that was kept last for this engine, or null. */
export async function keptGraph(stateDir: string, engine: string): Promise<ServiceGraph | null> {
  const graph = (await readJson(join(stateDir, 'graph.json'))) as ServiceGraph | null | undefined;
  return graph?.engine?.id === engine && Number.isSafeInteger(graph.revision) ? graph : null;
}

/** Random part of an epoch: two boots that count the same, after a restored disk, still differ. */
const RANDOM_RANGE = 2 ** 20;

/**
 * The epoch of this boot: greater than that of every earlier boot. Its upper part counts boots, and is at least the
 * clock in seconds, so that a disk that was wiped or restored does not lead back.
 */
export async function nextEpoch(stateDir: string, wallMs: number): Promise<number> {
  const path = join(stateDir, 'epoch.json');
  const kept = (await readJson(path)) as { boots?: unknown } | null | undefined;
  const last = Number.isSafeInteger(kept?.boots) ? (kept!.boots as number) : 0;
  const boots = Math.max(last + 1, Math.floor(wallMs / 1000));
  await replaceFile(path, JSON.stringify({ boots }));
  return boots * RANDOM_RANGE + randomInt(RANDOM_RANGE);
}
