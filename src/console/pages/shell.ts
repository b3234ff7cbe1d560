/**
 * What every page stands in: the vSphere Client, by its SDK, where there is one; else a page of its own that asks for
 * the controller's token. Finds out which object is meant, who asks, and which theme; asks again every few seconds.
 */
import { el, notice } from './dom.ts';

/** The part of the vSphere Client SDK that is used. */
interface Sdk {
  initialize(ready: () => void): void;
  app: {
    getSessionInfo(take: (info: { sessionToken: string }) => void): void;
    getContextObjects(): { id: string }[];
    getTheme?(): { name: string };
  };
  event: {
    onThemeChanged?(take: (theme: { name: string }) => void): void;
    onGlobalRefresh?(again: () => void): void;
  };
}

export interface Page {
  /** `card`: on a summary tab, a few lines. `modal`: opened by an action. `full`: everything. */
  view: 'card' | 'modal' | 'full';
  /** The object's id in its cloud, and the cloud where the page stands alone. */
  id: string;
  cloud: string;
  /** Asks the controller. Throws an Error with its message. */
  ask(path: string): Promise<unknown>;
  tell(path: string, body: unknown): Promise<unknown>;
  /** Shows the page anew, now. */
  refresh(): Promise<void>;
}

const REFRESH_MS = 5000;
const TOKEN_KEY = 'weft-token';

/** Starts the page: `draw` makes its content, at once and again every few seconds while somebody looks. */
export function start(draw: (page: Page) => Promise<Node[]>): void {
  const sdk = (globalThis as { htmlClientSdk?: Sdk }).htmlClientSdk;
  if (sdk) sdk.initialize(() => withSdk(sdk, draw));
  else standAlone(draw);
}

function withSdk(sdk: Sdk, draw: (page: Page) => Promise<Node[]>): void {
  document.documentElement.classList.add('embedded');
  const show = (theme: { name: string } | undefined): void => {
    document.documentElement.dataset.theme = theme?.name === 'dark' ? 'dark' : 'light';
  };
  show(sdk.app.getTheme?.());
  sdk.event.onThemeChanged?.(show);
  // `urn:vmomi:VirtualMachine:vm-42:<GUID of the vCenter>`
  const [, , , id = '', guid = ''] = (sdk.app.getContextObjects()[0]?.id ?? '').split(':');
  const session = (): Promise<Record<string, string>> =>
    new Promise((resolve) => {
      sdk.app.getSessionInfo(({ sessionToken }) =>
        resolve({ 'vmware-api-session-id': sessionToken, 'weft-vcenter-guid': guid || 'only' }),
      );
    });
  const page = pageOf(session, { id, cloud: '' }, draw);
  sdk.event.onGlobalRefresh?.(() => void page.refresh());
}

function standAlone(draw: (page: Page) => Promise<Node[]>): void {
  const { hash, search } = location;
  const given = /^#token=([\w.~-]+)$/.exec(hash)?.[1];
  if (given !== undefined) {
    sessionStorage.setItem(TOKEN_KEY, given);
    history.replaceState(null, '', location.pathname + search);
  }
  const query = new URLSearchParams(search);
  const context = { id: query.get('id') ?? '', cloud: query.get('cloud') ?? '' };
  const session = async (): Promise<Record<string, string>> => ({
    authorization: `Bearer ${sessionStorage.getItem(TOKEN_KEY) ?? ''}`,
  });
  const open = (): void => {
    pageOf(session, context, draw);
  };
  if (sessionStorage.getItem(TOKEN_KEY) === null) askToken(open);
  else open();
}

/** The token stays in this tab, and goes nowhere but to this server. */
function askToken(go: () => void): void {
  const field = el('input') as HTMLInputElement;
  field.type = 'password';
  field.id = 'token';
  field.autocomplete = 'off';
  const label = el('label', '', 'Token of the controller') as HTMLLabelElement;
  label.htmlFor = 'token';
  const button = el('button', 'primary', 'Open');
  const form = el('form', 'login', el('h1', '', 'Weft'), label, field, button);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    if (field.value === '') return;
    sessionStorage.setItem(TOKEN_KEY, field.value.trim());
    go();
  });
  main().replaceChildren(form);
  field.focus();
}

function pageOf(
  session: () => Promise<Record<string, string>>,
  context: { id: string; cloud: string },
  draw: (page: Page) => Promise<Node[]>,
): Page {
  const wanted = new URLSearchParams(location.search).get('view');
  const view = wanted === 'card' || wanted === 'modal' ? wanted : 'full';
  document.documentElement.classList.add(view);
  const call = async (path: string, init: RequestInit): Promise<unknown> => {
    const headers = { ...(await session()), 'content-type': 'application/json' };
    const response = await fetch(`../data/${path}`, { ...init, headers, cache: 'no-store' }).catch(() => {
      throw new Error('The controller of Weft does not answer. Is it running?');
    });
    const body = (await response.json().catch(() => ({}))) as { code?: string; message?: string };
    if (response.ok) return body;
    if (body.code === 'ERR_UNAUTHENTICATED' && !document.documentElement.classList.contains('embedded')) {
      sessionStorage.removeItem(TOKEN_KEY);
    }
    throw new Error(body.message ?? `The controller of Weft answered with status ${response.status}`);
  };
  let isDrawing = false;
  const page: Page = {
    view,
    ...context,
    ask: (path) => call(path, { method: 'GET' }),
    tell: (path, body) => call(path, { method: 'POST', body: JSON.stringify(body) }),
    async refresh() {
      if (isDrawing) return;
      isDrawing = true;
      try {
        swap(await draw(page));
      } catch (error) {
        showFailure((error as Error).message);
      } finally {
        isDrawing = false;
      }
    },
  };
  void page.refresh();
  setInterval(() => {
    if (!document.hidden) void page.refresh();
  }, REFRESH_MS);
  return page;
}

/** What was typed into or stands in focus is not pulled away from under the user. */
function swap(content: Node[]): void {
  const focused = document.activeElement?.id ?? '';
  main().replaceChildren(...content);
  if (focused !== '') document.getElementById(focused)?.focus();
}

/** Above what was last known, which stays readable. */
function showFailure(message: string): void {
  main().querySelector('.failure')?.remove();
  const box = notice('bad', message);
  box.classList.add('failure');
  main().prepend(box);
}

function main(): HTMLElement {
  return document.querySelector('main') ?? document.body;
}
