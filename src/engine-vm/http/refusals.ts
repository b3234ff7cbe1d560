/**
 * Why a request or a response is refused: every reason by name, with the status that the client gets. Like the drops of
 * packets, each has a counter; docs and logs use the name.
 */

export interface Refusal {
  readonly name: string;
  readonly status: number;
}

const NAMES = {
  // What clients send.
  'request-line-invalid': 400,
  'method-invalid': 400,
  'method-refused': 405,
  'target-invalid': 400,
  'target-encoding-invalid': 400,
  'target-slash-encoded': 400,
  'target-dot-segment': 400,
  'target-ambiguous': 400,
  'target-too-long': 414,
  'access-denied': 403,
  'rate-limited': 429,
  'target-host-differs': 400,
  'host-not-certified': 421,
  'client-certificate-missing': 403,
  'client-certificate-expired': 403,
  'client-certificate-not-yet-valid': 403,
  'client-certificate-revoked': 403,
  'client-certificate-purpose': 403,
  'client-certificate-untrusted': 403,
  'revocation-list-invalid': 403,
  'version-unsupported': 505,
  'head-too-large': 431,
  'too-many-fields': 431,
  'field-name-invalid': 400,
  'field-value-invalid': 400,
  'field-folded': 400,
  'field-lookalike': 400,
  'line-end-invalid': 400,
  'host-missing': 400,
  'host-duplicate': 400,
  'host-invalid': 400,
  'content-length-invalid': 400,
  'content-length-duplicate': 400,
  'content-length-with-transfer-encoding': 400,
  'transfer-encoding-unsupported': 501,
  'transfer-encoding-duplicate': 400,
  'transfer-encoding-in-http10': 400,
  'connection-names-end-to-end': 400,
  'connection-invalid': 400,
  'expectation-unknown': 417,
  'upgrade-with-body': 400,
  'chunk-invalid': 400,
  'chunk-extension-too-long': 400,
  'trailer-invalid': 400,
  'trailer-forbidden': 400,
  'pseudo-field-invalid': 400,
  'connection-field-in-http2': 400,
  'content-length-mismatch': 400,
  'stream-broken': 400,
  'body-too-large': 413,
  'proxy-header-invalid': 400,
  'head-timeout': 408,
  'body-timeout': 408,
  // What members do.
  'member-none': 503,
  'member-busy': 503,
  'queue-full': 503,
  'queue-timeout': 503,
  'member-connect': 502,
  'member-tls': 502,
  'member-certificate-untrusted': 502,
  'member-certificate-expired': 502,
  'member-certificate-revoked': 502,
  'member-certificate-name': 502,
  'member-closed': 502,
  'member-stream-reset': 502,
  'member-head-invalid': 502,
  'member-head-too-large': 502,
  'member-framing-invalid': 502,
  'member-too-many-interim': 502,
  'member-upgrade-unasked': 502,
  'member-timeout': 504,
  'member-coding-invalid': 502,
  'member-coding-bomb': 502,
  // Ours.
  overloaded: 503,
  'cache-only': 504,
  'purge-forbidden': 403,
} as const;

export type RefusalName = keyof typeof NAMES;

/** By id: what the parser returns is -id, so 0 is none. */
export const REFUSALS: readonly Refusal[] = [
  { name: 'none', status: 0 },
  ...Object.entries(NAMES).map(([name, status]) => ({ name, status })),
];

const IDS = new Map(REFUSALS.map(({ name }, id) => [name, id]));

/** The id of a reason. For constants of modules, not for hot paths. */
export function refusal(name: RefusalName): number {
  return IDS.get(name)!;
}

export const STATUS_TEXT: Record<number, string> = {
  200: 'OK',
  301: 'Moved Permanently',
  302: 'Found',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  410: 'Gone',
  413: 'Content Too Large',
  414: 'URI Too Long',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  451: 'Unavailable For Legal Reasons',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};
