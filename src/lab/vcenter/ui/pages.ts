/** The pages of the stand-in for the vSphere Client. */

import type { Vcenter } from '../vcenter.ts';
import { moRef } from '../wire/values.ts';
import type { DeployedPlugin } from './plugin.ts';

const STYLE = `
:root { --ground: #fff; --text: #21333b; --line: #d7dde1; --side: #f4f6f7; --head: #1d2f38; color-scheme: light; }
:root[data-theme=dark] { --ground: #1b2a32; --text: #e9eef1; --line: #435a66; --side: #17242b; color-scheme: dark; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); font: 13px/1.5 sans-serif; display: grid;
  grid-template: 48px 1fr / 220px 1fr; height: 100vh; }
header { grid-column: 1 / 3; background: var(--head); color: #fff; display: flex; align-items: center; padding: 0 16px; gap: 16px; }
header span { flex: 1; }
nav { background: var(--side); border-right: 1px solid var(--line); padding: 8px 0; overflow: auto; }
nav a { display: block; padding: 2px 16px; color: inherit; text-decoration: none; }
nav a.on { background: var(--line); }
nav h2 { font-size: 11px; margin: 12px 16px 4px; text-transform: uppercase; opacity: .7; }
main { display: flex; flex-direction: column; overflow: auto; }
.tabs { display: flex; gap: 24px; padding: 12px 24px 0; border-bottom: 1px solid var(--line); }
.tabs a { color: inherit; text-decoration: none; padding-bottom: 8px; }
.tabs a.on { border-bottom: 3px solid #0072a3; }
iframe { border: 0; flex: 1; min-height: 200px; }
.box { border: 1px solid var(--line); margin: 24px; width: 420px; display: flex; flex-direction: column; }
.box h2 { font-size: 14px; margin: 0; padding: 8px 12px; border-bottom: 1px solid var(--line); }
.login { display: block; padding: 10vh 0 0; }
form { max-width: 320px; margin: 0 auto; display: grid; gap: 8px; }
`;

/** Where somebody logs in. */
export function loginPage(failure: string): string {
  return page(
    'Log in',
    'login',
    `<form method="post" action="/ui/login"><h1>Simulated vCenter</h1><p role="alert">${escaped(failure)}</p>
<label for="user">User name</label><input id="user" name="user" autofocus>
<label for="password">Password</label><input id="password" name="password" type="password"><button>Log in</button></form>`,
  );
}

/** Hosts and VMs at the left, the views of the plug-in for the chosen one at the right. */
export function shellPage(
  vcenter: Vcenter,
  query: URLSearchParams,
  plugin: DeployedPlugin | null | Error,
): string {
  const chosen = query.get('object') ?? '';
  const objects = [...vcenter.objects().values()];
  const listOf = (type: string): string =>
    objects
      .filter(({ ref }) => ref.$ref === type)
      .map(({ ref, properties }) => {
        const name = `${type}:${ref.id}`;
        return `<a class="${name === chosen ? 'on' : ''}" href="/ui/?object=${escaped(name)}">${escaped(String(properties.name?.() ?? ref.id))}</a>`;
      })
      .join('');
  const side = `<nav><h2>Plug-ins</h2><a class="${chosen === '' ? 'on' : ''}" href="/ui/">${escaped(nameOf(plugin))}</a><h2>Hosts</h2>${listOf('HostSystem')}<h2>VMs</h2>${listOf('VirtualMachine')}</nav>`;
  return page(
    'Simulated vCenter',
    '',
    `<header><span>Simulated vCenter</span><button id="theme">Theme</button></header>${side}<main>${views(vcenter, chosen, query.get('view'), plugin)}</main>
<script>document.getElementById('theme').onclick = () => { const root = document.documentElement; root.dataset.theme = root.dataset.theme === 'dark' ? 'light' : 'dark'; };</script>`,
  );
}

/** What an action of the plug-in opens. */
export function dialog(
  vcenter: Vcenter,
  query: URLSearchParams,
  plugin: DeployedPlugin | null | Error,
): string {
  const chosen = query.get('object') ?? '';
  const action = plugin instanceof Error ? undefined : extended(chosen, plugin)?.menu?.actions[0];
  if (!action || plugin instanceof Error || !plugin) return page('Action', 'login', '<p>There is none.</p>');
  const { width, height } = action.trigger.size;
  const frame = frameOf(vcenter, chosen, plugin, action.trigger.uri);
  return page(
    text(plugin, action.trigger.titleKey),
    'login',
    `<div class="box" id="modal"><h2>${escaped(text(plugin, action.trigger.titleKey))}</h2>${frame}</div><style>#modal { width: ${width}px; height: ${height}px; }</style>`,
  );
}

function views(
  vcenter: Vcenter,
  chosen: string,
  view: string | null,
  plugin: DeployedPlugin | null | Error,
): string {
  if (plugin === null) return '<p class="tabs">No remote plug-in is registered.</p>';
  if (plugin instanceof Error)
    return `<p class="tabs">The plug-in is incompatible: ${escaped(plugin.message)}</p>`;
  if (chosen === '') {
    const uri = plugin.manifest.global?.view.uri;
    return uri === undefined ? '' : frameOf(vcenter, '', plugin, uri);
  }
  const points = extended(chosen, plugin);
  const tabs = [
    ...(points?.summary ? [{ id: 'summary', label: 'Summary', uri: points.summary.view.uri }] : []),
    ...(points?.monitor?.views ?? []).map((one) => ({
      id: one.navigationId,
      label: text(plugin, one.labelKey),
      uri: one.uri,
    })),
  ];
  const tab = tabs.find(({ id }) => id === view) ?? tabs[0];
  if (!tab) return '';
  const bar = tabs
    .map(
      ({ id, label }) =>
        `<a class="${id === tab.id ? 'on' : ''}" href="/ui/?object=${escaped(chosen)}&view=${escaped(id)}">${escaped(label)}</a>`,
    )
    .join('');
  const frame = frameOf(vcenter, chosen, plugin, tab.uri);
  const body =
    tab.id === 'summary' ? `<div class="box"><h2>${escaped(nameOf(plugin))}</h2>${frame}</div>` : frame;
  return `<div class="tabs">${bar}</div>${body}`;
}

function extended(chosen: string, plugin: DeployedPlugin | null) {
  const type = chosen.split(':')[0];
  const objects = plugin?.manifest.objects;
  return type === 'VirtualMachine'
    ? objects?.VirtualMachine
    : type === 'HostSystem'
      ? objects?.HostSystem
      : undefined;
}

function frameOf(vcenter: Vcenter, chosen: string, plugin: DeployedPlugin, uri: string): string {
  const [type, id] = chosen.split(':');
  const known = id !== undefined && vcenter.objects().has(moRef(type ?? '', id).id);
  const urn = known ? `urn:vmomi:${type}:${id}:${vcenter.state.instanceUuid}` : '';
  return `<iframe title="plug-in" data-object="${escaped(urn)}" src="${escaped(plugin.prefix + uri)}"></iframe>`;
}

function nameOf(plugin: DeployedPlugin | null | Error): string {
  return plugin === null || plugin instanceof Error
    ? 'none'
    : text(plugin, plugin.manifest.configuration.nameKey);
}

function text({ manifest }: DeployedPlugin, key: string): string {
  return manifest.definitions.i18n.definitions[key]?.['en-US'] ?? key;
}

function page(title: string, className: string, body: string): string {
  return `<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>${escaped(title)}</title><style>${STYLE}</style></head><body class="${className}">${body}</body></html>`;
}

function escaped(value: string): string {
  return value.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
