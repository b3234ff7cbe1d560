/**
 * The whole list of flows of this engine, put together on the main thread from the slices of its table that the
 * data-plane thread answers: between two of them it moves packets.
 */
import { type EngineFlows, type FlowListing, type FlowQuestion, MOST_FLOWS } from '../policy/answers.ts';
import { type FlowSlice, type FlowSliceQuestion, figureOf } from './dataplane/flow-listing.ts';

/** Asks for every slice. Rejects where one is not answered, or with the signal's reason. */
export async function collectFlows(
  question: FlowQuestion,
  ask: (slice: FlowSliceQuestion) => Promise<FlowSlice>,
  signal: AbortSignal,
): Promise<EngineFlows> {
  const limit = Math.min(question.limit, MOST_FLOWS);
  const answer: EngineFlows = { flows: [], matched: 0, total: 0 };
  for (let from: number | null = 0; from !== null; ) {
    signal.throwIfAborted();
    const last: FlowListing | undefined = answer.flows[limit - 1];
    const above = last === undefined ? null : figureOf(last, question.sort);
    const slice: FlowSlice = await ask({ ...question, limit, from, above });
    answer.flows = mergeFlows([answer.flows, slice.flows], question.sort, limit);
    answer.matched += slice.matched;
    answer.total = slice.total;
    from = slice.next;
  }
  return answer;
}

/** The first `limit` of all, the greatest first; equal ones stay in the order in which they were given. */
function mergeFlows(
  lists: readonly FlowListing[][],
  sort: FlowQuestion['sort'],
  limit: number,
): FlowListing[] {
  return lists
    .flat()
    .sort((a, b) => figureOf(b, sort) - figureOf(a, sort))
    .slice(0, limit);
}
