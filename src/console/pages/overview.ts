/** Everything at a glance: services, engines, members, what is being done; an operator may enable and disable services. */
import type { SystemStatus } from '../../policy/answers.ts';
import { badge, el, facts, notice, number, table } from './dom.ts';
import { type Page, start } from './shell.ts';

interface Overview {
  caller: { name: string; mayOperate: boolean };
  status: SystemStatus;
}

start(async (page) => {
  const { caller, status } = (await page.ask('overview')) as Overview;
  const { controller } = status;
  const content: Node[] = [el('h1', '', 'Weft')];
  for (const one of status.clouds) {
    if (one.state !== 'connected')
      content.push(notice('warn', `Cloud ${one.name} is ${one.state}: ${one.message}`));
  }
  if (controller.lastError !== null) content.push(notice('bad', controller.lastError));
  for (const warning of controller.warnings ?? []) content.push(notice('warn', warning));
  const up = status.members.filter(({ health }) => health === 'up').length;
  content.push(
    el(
      'section',
      'tiles',
      tile(
        'Services serving',
        status.services.filter(({ state }) => state === 'serving').length,
        status.services.filter(({ state }) => state !== 'disabled').length,
      ),
      tile(
        'Engines ready',
        status.engines.filter(({ state }) => state === 'ready').length,
        status.engines.length,
      ),
      tile('Members up', up, status.members.length),
      tile(
        'Hosts connected',
        status.hosts.filter(({ isConnected }) => isConnected).length,
        status.hosts.length,
      ),
    ),
    table(
      'Virtual services',
      ['Service', 'State', 'Addresses', 'Message', ''],
      status.services.map((one) => [
        one.name,
        badge(one.state),
        one.addresses.join(', '),
        one.message,
        caller.mayOperate ? toggle(page, one.name, one.state === 'disabled') : null,
      ]),
      'There is no virtual service yet.',
    ),
    table(
      'Engines',
      ['Engine', 'Host', 'State', 'Graph', 'Flows', 'Received', 'Sent', 'Message'],
      status.engines.map((one) => [
        one.id,
        one.host,
        badge(one.state),
        one.graphRevision === one.wantedRevision
          ? String(one.graphRevision)
          : `${one.graphRevision} of ${one.wantedRevision}`,
        number(one.flows),
        number(one.receivedPackets),
        number(one.sentPackets),
        one.message,
      ]),
      'There is no engine yet.',
    ),
    table(
      'Members',
      ['VM', 'Host', 'Pool', 'Health', 'In line', 'Connections', 'Why'],
      status.members.map((one) => [
        one.vm,
        one.host,
        one.pool,
        badge(one.health),
        one.isIntercepted ? 'yes' : 'no',
        number(one.connections),
        one.reason,
      ]),
      'No pool has a member.',
    ),
    table(
      'Under way',
      ['Step', 'Object', 'State', 'Message'],
      status.operations.map((one) => [one.step, one.object, one.state, one.message]),
      'Nothing is being done.',
    ),
    facts(
      ['Controller', `version ${controller.version}, revision ${controller.revision}`],
      ['You are', caller.name],
    ),
  );
  return content;
});

function tile(title: string, now: number, all: number): HTMLElement {
  const tone = all === 0 ? '' : now === all ? ' good' : ' warn';
  return el(
    'div',
    `tile${tone}`,
    el('span', 'figure', `${now}`, el('span', 'of', ` of ${all}`)),
    el('span', '', title),
  );
}

function toggle(page: Page, name: string, isDisabled: boolean): HTMLElement {
  const button = el('button', '', isDisabled ? 'Enable' : 'Disable') as HTMLButtonElement;
  button.id = `toggle-${name}`;
  button.setAttribute('aria-label', `${isDisabled ? 'Enable' : 'Disable'} virtual service ${name}`);
  button.addEventListener('click', () => void change(page, name, isDisabled, button));
  return button;
}

async function change(
  page: Page,
  name: string,
  isEnabled: boolean,
  button: HTMLButtonElement,
): Promise<void> {
  const question = `Disable virtual service ${name}? Its addresses answer no more, and the paths of its members are released.`;
  if (!isEnabled && !(await sure(question, 'Disable'))) return;
  button.disabled = true;
  try {
    await page.tell('service', { name, isEnabled });
    await page.refresh();
  } catch (error) {
    document.querySelector('main')?.prepend(notice('bad', (error as Error).message));
  }
}

/** A dialog of the page's own: the browser's would stand outside of the vSphere Client. */
function sure(question: string, yes: string): Promise<boolean> {
  const dialog = el('dialog') as HTMLDialogElement;
  const go = el('button', 'danger', yes) as HTMLButtonElement;
  const stay = el('button', '', 'Cancel') as HTMLButtonElement;
  dialog.append(el('p', '', question), el('div', 'buttons', stay, go));
  document.body.append(dialog);
  return new Promise((resolve) => {
    go.addEventListener('click', () => dialog.close('yes'));
    stay.addEventListener('click', () => dialog.close());
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    dialog.showModal();
  });
}
