/**
 * The remote plug-in that is registered: its manifest, fetched as the vSphere Client fetches it, and the reverse proxy
 * in front of its server. Its server is known by the thumbprint that was registered, and by nothing else.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:tls';
import { z } from 'zod';
import type { Vcenter } from '../vcenter.ts';
import type { Struct } from '../wire/values.ts';

const MAX_MANIFEST = 1 << 20;
const TIMEOUT_MS = 20_000;
const Uri = z.strictObject({ uri: z.string().min(1) });
const View = z.strictObject({
  navigationId: z.string().min(1),
  labelKey: z.string().min(1),
  uri: z.string().min(1),
});
const Action = z.strictObject({
  id: z.string().min(1),
  labelKey: z.string().min(1),
  icon: z.strictObject({ name: z.string() }).optional(),
  trigger: z.strictObject({
    type: z.literal('modal'),
    uri: z.string().min(1),
    titleKey: z.string().min(1),
    size: z.strictObject({ width: z.number(), height: z.number() }),
  }),
});
const Extended = z.strictObject({
  summary: z.strictObject({ view: Uri }).optional(),
  monitor: z.strictObject({ views: z.array(View) }).optional(),
  configure: z.strictObject({ views: z.array(View) }).optional(),
  menu: z.strictObject({ actions: z.array(Action) }).optional(),
});
const Version = z.enum(['1.0.0', '1.0.1', '1.1.0', '1.2.0']);

/** As strict as the vSphere Client: a property that it does not know makes a plug-in incompatible. */
const Manifest = z.strictObject({
  manifestVersion: Version,
  requirements: z.strictObject({ 'plugin.api.version': Version }),
  configuration: z.strictObject({
    nameKey: z.string().min(1),
    icon: z.strictObject({ name: z.string().min(1) }).optional(),
  }),
  global: z
    .strictObject({
      view: z.strictObject({
        navigationId: z.string().min(1),
        uri: z.string().min(1),
        navigationVisible: z.boolean().optional(),
      }),
    })
    .optional(),
  objects: z
    .strictObject({
      VirtualMachine: Extended.optional(),
      HostSystem: Extended.optional(),
      Datacenter: Extended.optional(),
    })
    .optional(),
  definitions: z.strictObject({
    iconSpriteSheet: z
      .strictObject({
        uri: z.string().min(1),
        definitions: z.record(z.string(), z.strictObject({ x: z.number(), y: z.number() })),
      })
      .optional(),
    i18n: z.strictObject({
      locales: z.array(z.string().min(1)).min(1),
      definitions: z.record(z.string(), z.record(z.string(), z.string().min(1))),
    }),
  }),
});

export interface DeployedPlugin {
  /** Path of the reverse proxy, with a slash at its end. */
  prefix: string;
  manifest: z.output<typeof Manifest>;
}

/** The plug-in of the first extension that has one; null where there is none. Rejects where it is not acceptable. */
export async function deployedPlugin(vcenter: Vcenter): Promise<DeployedPlugin | null> {
  const found = registered(vcenter);
  if (!found) return null;
  const reply = await ask(found, 'GET', found.manifest.pathname, {}, '');
  if (reply.status !== 200) throw new Error(`the manifest was answered with status ${reply.status}`);
  const text = found.manifest.pathname.endsWith('.zip')
    ? manifestIn(reply.body)
    : reply.body.toString('utf8');
  return { prefix: found.prefix, manifest: Manifest.parse(JSON.parse(text)) };
}

/** Hands a request below the proxy's prefix on to the plug-in's server. */
export async function forward(
  vcenter: Vcenter,
  request: IncomingMessage,
  response: ServerResponse,
  body: string,
): Promise<void> {
  const found = registered(vcenter);
  const url = new URL(request.url ?? '/', 'https://vcenter');
  if (!found || !url.pathname.startsWith(found.prefix)) {
    response.writeHead(404).end('no plug-in is registered there');
    return;
  }
  const base = found.manifest.pathname.slice(0, found.manifest.pathname.lastIndexOf('/') + 1);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    // The client's own cookie stays with the client.
    if (typeof value === 'string' && !/^(host|cookie|connection|content-length)$/.test(name))
      headers[name] = value;
  }
  const path = base + url.pathname.slice(found.prefix.length) + url.search;
  const reply = await ask(found, request.method ?? 'GET', path, headers, body).catch((error: Error) => error);
  if (reply instanceof Error) {
    response.writeHead(502).end(`the plug-in's server does not answer: ${reply.message}`);
    return;
  }
  for (const [name, value] of Object.entries(reply.headers)) {
    if (!/^(connection|transfer-encoding|keep-alive)$/.test(name)) response.setHeader(name, value);
  }
  response.writeHead(reply.status).end(reply.body);
}

interface Registered {
  prefix: string;
  manifest: URL;
  thumbprint: string;
}

function registered(vcenter: Vcenter): Registered | null {
  for (const extension of vcenter.state.extensions) {
    const client = ((extension.client ?? []) as Struct[]).find((one) => one.type === 'vsphere-client-remote');
    const server = ((extension.server ?? []) as Struct[]).find((one) => one.type === 'MANIFEST_SERVER');
    if (!client || !server) continue;
    return {
      prefix: `/plugins/${String(extension.key)}~${String(client.version)}/`,
      manifest: new URL(String(client.url)),
      thumbprint: String(server.serverThumbprint ?? ''),
    };
  }
  return null;
}

interface Reply {
  status: number;
  headers: Record<string, string | string[]>;
  body: Buffer;
}

/** One exchange over a connection whose certificate is the registered one; nothing is sent before that is known. */
async function ask(
  { manifest, thumbprint }: Registered,
  method: string,
  path: string,
  headers: Record<string, string>,
  body: string,
): Promise<Reply> {
  const host = manifest.hostname.replace(/^\[|\]$/g, '');
  const socket = connect({ host, port: Number(manifest.port || 443), rejectUnauthorized: false });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('it does not answer in time')));
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        const shown = socket.getPeerX509Certificate()?.fingerprint256;
        if (shown === thumbprint) resolve();
        else reject(new Error(`it shows the certificate ${shown}, not the registered ${thumbprint}`));
      });
    });
    return await new Promise<Reply>((resolve, reject) => {
      socket.once('error', reject);
      const outgoing = httpsRequest(
        { method, path, headers: { ...headers, host: manifest.host }, createConnection: () => socket },
        (incoming) => {
          const parts: Buffer[] = [];
          let size = 0;
          incoming.on('data', (part: Buffer) => {
            size += part.length;
            if (size > MAX_MANIFEST) incoming.destroy(new Error('its answer is too large'));
            parts.push(part);
          });
          incoming.once('error', reject);
          incoming.once('end', () => {
            const answer = { status: incoming.statusCode ?? 502, body: Buffer.concat(parts) };
            resolve({ ...answer, headers: incoming.headers as Reply['headers'] });
          });
        },
      );
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  } finally {
    socket.destroy();
  }
}

/** The first manifest of a multi-manifest archive. Files in it must be stored without compression. */
function manifestIn(archive: Buffer): string {
  const files = new Map<string, Buffer>();
  for (let at = 0; archive.readUInt32LE(at) === 0x04034b50; ) {
    const size = archive.readUInt32LE(at + 18);
    const nameLength = archive.readUInt16LE(at + 26);
    const start = at + 30 + nameLength + archive.readUInt16LE(at + 28);
    if (archive.readUInt16LE(at + 8) !== 0) throw new Error('the archive is compressed');
    files.set(archive.toString('utf8', at + 30, at + 30 + nameLength), archive.subarray(start, start + size));
    at = start + size;
  }
  const list = JSON.parse(files.get('plugin-multi-manifest.json')?.toString('utf8') ?? '{}') as {
    manifests?: string[];
  };
  const first = files.get(list.manifests?.[0] ?? '');
  if (!first) throw new Error('the archive names no manifest that is in it');
  return first.toString('utf8');
}
