/** Events: what happened, the latest thousand. */
import { isKindOf } from './schema/notation.ts';
import { dateTime, isStruct, type Struct } from './wire/values.ts';

const MAX_EVENTS = 1000;

export class EventLog {
  readonly #events: Struct[] = [];
  #next = 1;

  /** Notes an event of a type; `about` are its arguments, such as `vm` and `host`. */
  note(type: string, user: string, message: string, about: Struct = {}): void {
    const key = this.#next++;
    this.#events.push({
      $type: type,
      key,
      chainId: key,
      createdTime: dateTime(Date.now()),
      userName: user,
      ...about,
      fullFormattedMessage: message,
    });
    if (this.#events.length > MAX_EVENTS) this.#events.shift();
  }

  latest(): Struct | undefined {
    return this.#events.at(-1);
  }

  /** Events that an EventFilterSpec asks for. */
  query(filter: Struct): Struct[] {
    const entity = (filter.entity as Struct | undefined)?.entity as { id: string } | undefined;
    const time = filter.time as Struct | undefined;
    const ids = filter.eventTypeId as string[] | undefined;
    const types = filter.type as string[] | undefined;
    const isAbout = (event: Struct, id: string) =>
      event.objectId === id ||
      Object.values(event).some(
        (value) =>
          isStruct(value) &&
          Object.values(value).some((one) => typeof one === 'object' && 'id' in one && one.id === id),
      );
    return this.#events.filter(
      (event) =>
        // The root folder, the datacenter and its cluster contain everything.
        (!entity || /^(group-d1|datacenter-|domain-)/.test(entity.id) || isAbout(event, entity.id)) &&
        (!ids?.length || ids.some((id) => idOf(event) === id.replace(/^vim\.event\./, ''))) &&
        (!types?.length || types.some((type) => isKindOf(String(event.$type), type))) &&
        (!time?.beginTime || String(event.createdTime) >= String(time.beginTime)) &&
        (!time?.endTime || String(event.createdTime) <= String(time.endTime)),
    );
  }
}

/** What an event is called: its type, or the id that an extension gave it. */
function idOf(event: Struct): string {
  return String(event.$type === 'EventEx' ? event.eventTypeId : event.$type);
}

const PAGE = 10;

/** A place in the log, between an older event and a newer one, from which a client reads in either direction. */
export class EventCursor {
  readonly filter: Struct;
  /** Events on the latest page. */
  pageSize = PAGE;
  readonly #log: EventLog;
  /** Events with this key and above are newer than the place. */
  #at = Number.POSITIVE_INFINITY;

  constructor(log: EventLog, filter: Struct) {
    this.#log = log;
    this.filter = filter;
    this.reset();
  }

  /** The newest ones, newest first, wherever the place is. */
  latestPage(): Struct[] {
    return this.#log.query(this.filter).slice(-this.pageSize).reverse();
  }

  /** Before the oldest. */
  rewind(): void {
    this.#at = 0;
  }

  /** After the newest. */
  reset(): void {
    this.#at = Number(this.#log.latest()?.key ?? 0) + 1;
  }

  /** The next newer ones, oldest first. */
  next(count: number): Struct[] {
    const found = this.#log
      .query(this.filter)
      .filter((event) => Number(event.key) >= this.#at)
      .slice(0, count);
    if (found.length > 0) this.#at = Number(found.at(-1)!.key) + 1;
    return found;
  }

  /** The next older ones, newest first. */
  previous(count: number): Struct[] {
    const older = this.#log.query(this.filter).filter((event) => Number(event.key) < this.#at);
    const found = older.slice(-count).reverse();
    if (found.length > 0) this.#at = Number(found.at(-1)!.key);
    return found;
  }
}
