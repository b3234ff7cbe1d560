/** How `weft explain pool NAME` looks: the VMs with their verdicts, or every criterion of one VM. */
import type { CriterionVerdict, MembershipExplanation, MembershipVerdict } from '../policy/answers.ts';
import { type Cell, paint, table } from './table.ts';
import { plain, type Terminal } from './terminal.ts';

/** Draws the answer; in detail where one VM was asked for. */
export function drawMembership(
  terminal: Terminal,
  answer: MembershipExplanation,
  isInDetail: boolean,
): string {
  const { pool, cloud, cloudMessage, considered, members, vms, omitted } = answer;
  const title = `pool ${pool}: ${counted(members, 'member')} of ${counted(considered, 'VM')} in cloud ${cloud}`;
  const lines = [paint(terminal, plain(title), 'bold')];
  if (cloudMessage !== '') {
    lines.push(paint(terminal, plain(`the inventory may be out of date: ${cloudMessage}`), 'yellow'));
  }
  if (isInDetail) lines.push(...vms.map((one) => drawVm(terminal, one)));
  else if (vms.length === 0) {
    lines.push(
      'no VM fulfils its selector, or nearly does; "weft explain pool NAME --vm VM" says why of one',
    );
  } else {
    lines.push(
      table(
        terminal,
        [
          { title: 'VM' },
          { title: 'HOST' },
          { title: 'MEMBER' },
          { title: 'NIC' },
          { title: 'WHY', wraps: true },
        ],
        vms.map((one) => [one.vm, one.host, answerCell(one.isMember), one.nic ?? '-', one.reason]),
      ),
    );
  }
  if (omitted > 0) {
    lines.push(`${omitted} more are not shown; "weft explain pool ${plain(pool)} --vm VM" asks for one`);
  }
  return lines.join('\n');
}

function drawVm(
  terminal: Terminal,
  { vm, id, host, isMember, nic, criteria, reason }: MembershipVerdict,
): string {
  const rows = criteria.map(({ criterion, fits, wanted, found, detail }: CriterionVerdict): Cell[] => [
    criterion,
    wanted.join(', '),
    found.length === 0 ? '-' : found.join(', '),
    answerCell(fits),
    detail,
  ]);
  const drawn = table(
    terminal,
    [
      { title: 'CRITERION' },
      { title: 'WANTED', wraps: true },
      { title: 'FOUND', wraps: true },
      { title: 'FITS' },
      { title: 'DETAIL', wraps: true },
    ],
    rows,
  );
  const sentence = isMember
    ? `${vm} (${id}) on ${host} is a member, on NIC ${nic ?? '-'}: ${reason}`
    : `${vm} (${id}) on ${host} is no member: ${reason}`;
  return [drawn, plain(sentence)].join('\n');
}

function answerCell(isYes: boolean): Cell {
  return isYes ? { text: 'yes', colour: 'green' } : { text: 'no', colour: 'red' };
}

function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}
