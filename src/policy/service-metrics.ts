/**
 * Figures of proxied services as text that Prometheus reads (exposition format 0.0.4,
 * https://prometheus.io/docs/instrumenting/exposition_formats/).
 */
import { type ServiceFigures, upperBoundMs } from './service-figures.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Figures of one service with what tells them apart from others: service, engine. */
export interface LabelledFigures {
  labels: Readonly<Record<string, string>>;
  figures: ServiceFigures;
}

type Sample = [labels: Record<string, string>, value: number];

interface Metric {
  name: string;
  type: 'counter' | 'gauge';
  help: string;
  samples(figures: ServiceFigures): Sample[];
}

const counter = (name: string, help: string, samples: Metric['samples']): Metric => ({
  name,
  type: 'counter',
  help,
  samples,
});
const by = (label: string, values: Readonly<Record<string, number>>): Sample[] =>
  Object.entries(values).map(([name, value]) => [{ [label]: name }, value]);

const METRICS: readonly Metric[] = [
  counter('weft_http_requests_total', 'Requests that have ended, by class of status.', ({ statuses }) =>
    statuses.flatMap((count, n): Sample[] => (n === 0 ? [] : [[{ status: `${n}xx` }, count]])),
  ),
  counter('weft_http_refusals_total', 'Requests that were refused, by reason (docs/refusals.md).', (one) =>
    by('reason', one.refusals),
  ),
  counter('weft_http_received_bytes_total', 'Of bodies of requests.', (one) => [[{}, one.receivedBytes]]),
  counter('weft_http_sent_bytes_total', 'Of bodies of responses.', (one) => [[{}, one.sentBytes]]),
  counter('weft_http_connections_total', 'Connections of clients that were taken.', (one) => [
    [{}, one.connections],
  ]),
  {
    name: 'weft_http_open_connections',
    type: 'gauge',
    help: 'Connections of clients.',
    samples: ({ open }) => [[{}, open]],
  },
  counter('weft_http_tunnels_total', 'Connections that were upgraded, and have ended.', (one) => [
    [{}, one.tunnels],
  ]),
  counter('weft_http_waited_total', 'Requests that have waited for a member.', (one) => [[{}, one.waited]]),
  counter('weft_http_ejections_total', 'Members that were left out for their errors.', (one) => [
    [{}, one.ejections],
  ]),
  counter('weft_http_retries_total', 'Requests that went to a member again, or were kept from it.', (one) =>
    by('outcome', { ...one.retries }),
  ),
  counter('weft_http_session_cookies_total', 'Session cookies, by what became of them.', (one) =>
    by('outcome', { ...one.cookies }),
  ),
  counter('weft_http_sessions_total', 'Requests of sessions by address or field.', (one) =>
    by('outcome', { ...one.sessions }),
  ),
  counter('weft_http_component_total', 'What the components of the service did.', ({ components }) =>
    Object.entries(components).flatMap(([component, counters]) =>
      Object.entries(counters).map(([outcome, value]): Sample => [{ component, outcome }, value]),
    ),
  ),
  {
    name: 'weft_http_component_shared',
    type: 'gauge',
    help: 'What is in the memory that the components of all threads share.',
    samples: ({ shared }) =>
      Object.entries(shared).flatMap(([component, levels]) =>
        Object.entries(levels).map(([what, value]): Sample => [{ component, what }, value]),
      ),
  },
  counter('weft_http_member_requests_total', 'Requests that a member had.', ({ members }) =>
    members.map(({ pool, name, address, requests }) => [{ pool, member: name, address }, requests]),
  ),
  counter('weft_http_member_errors_total', 'Of these, ended with 500 or more, or by a refusal.', (one) =>
    one.members.map(({ pool, name, address, errors }) => [{ pool, member: name, address }, errors]),
  ),
  {
    name: 'weft_http_member_active_requests',
    type: 'gauge',
    help: 'Requests under way at a member.',
    samples: ({ members }) =>
      members.map(({ pool, name, address, active }) => [{ pool, member: name, address }, active]),
  },
  counter('weft_http_log_lost_bytes_total', 'Of the access log, that could not be written.', (one) => [
    [{}, one.logBytesLost],
  ]),
  counter('weft_http_busy_seconds_total', 'Time in which the threads did not wait for events.', (one) => [
    [{}, one.busyMs / 1000],
  ]),
];

/** Powers of two microseconds: 128 us to 33 s. */
const POWERS = Array.from({ length: 19 }, (_, n) => n + 7);

/** All metrics of the services. */
export function metricsText(services: readonly LabelledFigures[]): string {
  const lines: string[] = [];
  for (const { name, type, help, samples } of METRICS) {
    const found = services.flatMap(({ labels, figures }) =>
      samples(figures).map(([more, value]) => `${name}${labelText({ ...labels, ...more })} ${value}`),
    );
    if (found.length > 0) lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...found);
  }
  if (services.length > 0) lines.push(...durations(services));
  return `${lines.join('\n')}\n`;
}

function durations(services: readonly LabelledFigures[]): string[] {
  const name = 'weft_http_request_duration_seconds';
  const lines = [
    `# HELP ${name} Where the time of requests went; the sum is made of buckets, exact to an eighth.`,
    `# TYPE ${name} histogram`,
  ];
  for (const { labels, figures } of services) {
    for (const [share, counts] of Object.entries(figures.times)) {
      const own = { ...labels, share };
      let at = 0;
      let count = 0;
      let sum = 0;
      const upTo = (end: number): void => {
        for (; at < Math.min(end, counts.length); at++) {
          count += counts[at]!;
          // A bucket is as wide as a quarter of its power of two.
          sum += (counts[at]! * (upperBoundMs(at) - 2 ** (at >> 2) / 8000)) / 1000;
        }
      };
      for (const power of POWERS) {
        upTo(power * 4);
        lines.push(`${name}_bucket${labelText({ ...own, le: String(2 ** power / 1e6) })} ${count}`);
      }
      upTo(counts.length);
      lines.push(`${name}_bucket${labelText({ ...own, le: '+Inf' })} ${count}`);
      lines.push(`${name}_sum${labelText(own)} ${sum}`, `${name}_count${labelText(own)} ${count}`);
    }
  }
  return lines;
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
