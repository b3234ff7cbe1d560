/** Weekly windows of time in a time zone: when a firewall rule is in force. */
import { z } from 'zod';
import { nearestName } from './nearest-name.ts';

/** In the order of `Date.getDay`. */
export const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

const TimeOfDay = z
  .string()
  .refine((text) => minuteOfDay(text) >= 0, 'must be a time from "00:00" to "24:00"')
  .meta({ format: 'time-of-day' });

const TimeZone = z
  .string()
  .max(64)
  .superRefine((name, context) => {
    if (isTimeZone(name)) return;
    const nearest = nearestName(name, Intl.supportedValuesOf('timeZone'));
    const hint = nearest === undefined ? 'such as "Europe/Berlin"' : `did you mean ${nearest}?`;
    context.addIssue({ code: 'custom', message: `is no time zone of the IANA database: ${hint}` });
  });

export const WeeklyWindows = z.strictObject({
  timeZone: TimeZone.default('UTC').meta({
    description: 'An IANA time zone, for example Europe/Berlin; its summer time counts.',
  }),
  windows: z
    .array(
      z
        .strictObject({
          days: z
            .array(z.enum(WEEKDAYS))
            .min(1)
            .max(7)
            .default([...WEEKDAYS])
            .meta({ description: 'The days on which the window begins.' }),
          from: TimeOfDay.default('00:00').meta({ description: 'When it begins.' }),
          to: TimeOfDay.default('24:00').meta({
            description: 'When it ends; the next day where that is before it begins.',
          }),
        })
        .refine(({ from, to }) => from !== to, {
          path: ['to'],
          message: 'must differ from "from"; a whole day is from "00:00" to "24:00"',
        }),
    )
    .min(1)
    .max(50)
    .meta({ description: 'The rule is in force while any of these windows is open.' }),
});

export type WeeklyWindows = z.output<typeof WeeklyWindows>;

/** Minutes since midnight, or -1 where the text is no time of day. */
export function minuteOfDay(text: string): number {
  const match = /^(\d{2}):(\d{2})$/.exec(text);
  if (!match) return -1;
  const minutes = Number(match[1]) * 60 + Number(match[2]);
  return Number(match[2]) < 60 && minutes <= 1440 ? minutes : -1;
}

/** Whether one of the windows is open at a local weekday (0 is Sunday) and minute of the day. */
export function isOpen(spec: WeeklyWindows, weekday: number, minute: number): boolean {
  const isToday = (days: readonly string[]): boolean => days.includes(WEEKDAYS[weekday]!);
  const wasYesterday = (days: readonly string[]): boolean => days.includes(WEEKDAYS[(weekday + 6) % 7]!);
  return spec.windows.some(({ days, from, to }) => {
    const begins = minuteOfDay(from);
    const ends = minuteOfDay(to);
    if (begins < ends) return isToday(days) && minute >= begins && minute < ends;
    return (isToday(days) && minute >= begins) || (wasYesterday(days) && minute < ends);
  });
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
