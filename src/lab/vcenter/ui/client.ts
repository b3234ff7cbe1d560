/**
 * A stand-in for the vSphere Client, as small as can be, in front of the simulated vCenter: a login, a list of hosts
 * and VMs, and the views that registered remote plug-ins add to them, each in an iframe behind a reverse proxy.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { login } from '../method/service.ts';
import { cookieOf } from '../server.ts';
import type { Vcenter } from '../vcenter.ts';
import { dialog, loginPage, shellPage } from './pages.ts';
import { deployedPlugin, forward } from './plugin.ts';
import { SDK_SCRIPT } from './sdk-script.ts';

/** True for paths that the client answers. */
export function isClientPath(path: string): boolean {
  return /^\/(ui(\/|$)|api\/ui\/|plugins\/)/.test(path);
}

/** Answers one request. `body` is the whole of it. */
export async function answerClient(
  vcenter: Vcenter,
  request: IncomingMessage,
  response: ServerResponse,
  body: string,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://vcenter');
  const session = vcenter.sessions.find(cookieOf(request));
  const json = (status: number, value: unknown) =>
    send(response, status, 'application/json', JSON.stringify(value));
  const html = (status: number, text: string) => send(response, status, 'text/html; charset=utf-8', text);

  if (url.pathname === '/api/ui/htmlClientSdk.js') return send(response, 200, 'text/javascript', SDK_SCRIPT);
  if (url.pathname === '/ui/login' && request.method === 'POST') {
    const form = new URLSearchParams(body);
    try {
      const user = login.check({ vcenter }, form.get('user') ?? '', form.get('password') ?? '');
      const opened = vcenter.sessions.open(user, {
        userAgent: String(request.headers['user-agent'] ?? '').slice(0, 200),
        address: request.socket.remoteAddress ?? '',
      });
      response.setHeader(
        'Set-Cookie',
        `vmware_soap_session="${opened.token}"; Path=/; HttpOnly; Secure; SameSite=Strict`,
      );
      return void response.writeHead(303, { location: '/ui/' }).end();
    } catch {
      return html(401, loginPage('The user name or the password is wrong.'));
    }
  }
  if (!session) {
    if (url.pathname.startsWith('/ui')) return html(200, loginPage(''));
    return json(401, { error_type: 'UNAUTHENTICATED' });
  }
  if (url.pathname === '/ui/session') return json(200, { sessionToken: session.token });
  if (url.pathname === '/api/ui/vcenter/session/clone-ticket' && request.method === 'POST') {
    const guid = guidIn(body);
    if (guid !== vcenter.state.instanceUuid) return json(404, { error_type: 'NOT_FOUND' });
    return json(200, { session_clone_ticket: vcenter.sessions.ticketFor(session) });
  }
  if (url.pathname.startsWith('/plugins/')) return forward(vcenter, request, response, body);
  if (url.pathname === '/ui' || url.pathname === '/ui/') {
    const plugin = await deployedPlugin(vcenter).catch((error: Error) => error);
    return html(200, shellPage(vcenter, url.searchParams, plugin));
  }
  if (url.pathname === '/ui/modal') {
    const plugin = await deployedPlugin(vcenter).catch((error: Error) => error);
    return html(200, dialog(vcenter, url.searchParams, plugin));
  }
  return json(404, { error_type: 'NOT_FOUND' });
}

function guidIn(body: string): unknown {
  try {
    return (JSON.parse(body) as { vc_guid?: unknown }).vc_guid;
  } catch {
    return undefined;
  }
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
  });
  response.end(body);
}
