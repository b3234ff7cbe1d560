/** Which rules are in force now: their weekly windows, looked at once a minute of the wall clock. */
import { isOpen, WEEKDAYS, type WeeklyWindows } from '../../policy/time-window.ts';

interface Timetable {
  times: WeeklyWindows;
  rules: number[];
}

export class RuleSchedule {
  /** By rule: 1 where it is not in force. */
  readonly isResting: Uint8Array;
  private readonly timetables: Timetable[];
  private readonly clocks = new Map<string, Intl.DateTimeFormat>();
  private minute = Number.NaN;

  /** `wallMs`: the clock as of now. */
  constructor(rules: readonly { times?: WeeklyWindows | undefined }[], wallMs: number) {
    this.isResting = new Uint8Array(rules.length);
    const byText = new Map<string, Timetable>();
    rules.forEach(({ times }, index) => {
      if (times === undefined) return;
      const text = JSON.stringify(times);
      const known = byText.get(text);
      if (known) known.rules.push(index);
      else byText.set(text, { times, rules: [index] });
    });
    this.timetables = [...byText.values()];
    this.advance(wallMs);
  }

  /** Takes the time; true where a rule began or ended since the last call. */
  advance(wallMs: number): boolean {
    const minute = Math.floor(wallMs / 60_000);
    if (minute === this.minute || this.timetables.length === 0) return false;
    this.minute = minute;
    const local = new Map<string, { weekday: number; minute: number }>();
    let isChanged = false;
    for (const { times, rules } of this.timetables) {
      const { timeZone } = times;
      const now = local.get(timeZone) ?? this.localTime(timeZone, wallMs);
      local.set(timeZone, now);
      const rests = isOpen(times, now.weekday, now.minute) ? 0 : 1;
      for (const rule of rules) {
        if (this.isResting[rule] === rests) continue;
        this.isResting[rule] = rests;
        isChanged = true;
      }
    }
    return isChanged;
  }

  private localTime(timeZone: string, wallMs: number): { weekday: number; minute: number } {
    let clock = this.clocks.get(timeZone);
    if (!clock) {
      clock = new Intl.DateTimeFormat('en-US', {
        timeZone,
        weekday: 'short',
        hour: '2-digit',
        minute: '2-digit',
        hourCycle: 'h23',
      });
      this.clocks.set(timeZone, clock);
    }
    const parts = new Map(clock.formatToParts(wallMs).map(({ type, value }) => [type, value]));
    const day = parts.get('weekday')?.toLowerCase() ?? '';
    const weekday = (WEEKDAYS as readonly string[]).indexOf(day);
    return { weekday, minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')) };
  }
}
