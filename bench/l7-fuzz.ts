/**
 * The long run of the fuzz of test/engine-vm/http: mutated requests and responses through the whole proxy in memory,
 * with a recording member as the judge of what was let through.
 *
 *   npm run bench -- l7-fuzz [messages] [seed]
 */
import { fuzz } from '../test/engine-vm/http/fuzz-run.ts';

const messages = Number(process.argv[2] ?? 10_000_000);
const first = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31));
const PART = 250_000;
const begin = performance.now();
let done = 0;
let forwarded = 0;
let refused = 0;
for (let seed = first; done < messages; seed++) {
  const outcome = fuzz(Math.min(PART, messages - done), seed);
  done += outcome.messages;
  forwarded += outcome.forwarded;
  refused += outcome.refused;
  console.log(`seed ${seed}: ${done} messages, ${forwarded} requests forwarded, ${refused} refused`);
}
const seconds = Math.round((performance.now() - begin) / 1000);
console.log(JSON.stringify({ bench: 'l7-fuzz', seed: first, messages: done, forwarded, refused, seconds }));
