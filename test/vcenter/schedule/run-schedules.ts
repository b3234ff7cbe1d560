/**
 * Runs schedules of faults, one after the other, in a process whose time is turned by hand:
 *
 *   node run-schedules.ts SECONDS SEED...
 *
 * runs those of the seeds, and begins none after so many seconds (0: all of them). Prints one line of JSON for each:
 * seed, failure or null, calls, milliseconds; of a failed one its story as well.
 * WEFT_TEST_LOG=1 tells the story while it goes on.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildOva } from '../../../src/engine-vm/image/ova.ts';
import { runSchedule } from './schedule.ts';
import { VirtualTime } from './virtual-time.ts';

const [seconds = 0, ...seeds] = process.argv.slice(2).map(Number);
const millis = () => Number(process.hrtime.bigint() / 1_000_000n);
const begun = millis();
const directory = mkdtempSync(join(tmpdir(), 'weft-schedules-'));
try {
  const ova = join(directory, 'engine.ova');
  await buildOva(
    { disk: null, file: ova, version: '0.1.0', signer: null, modifiedAt: 0 },
    new AbortController().signal,
  );
  const time = new VirtualTime();
  for (const seed of seeds) {
    const startedAt = millis();
    if (seconds > 0 && startedAt - begun > seconds * 1000) break;
    const cpu = process.cpuUsage();
    const { failure, story, calls, virtualMs } = await runSchedule(time, seed, ova);
    const used = process.cpuUsage(cpu);
    const cpuMs = Math.round((used.user + used.system) / 1000);
    console.log(
      JSON.stringify({
        seed,
        failure,
        calls,
        virtualMs,
        ms: millis() - startedAt,
        cpuMs,
        ...(failure ? { story } : {}),
      }),
    );
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exit(0);
