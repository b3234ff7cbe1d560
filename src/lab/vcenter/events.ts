/** Events: what happened, the latest thousand. */
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
    const types = filter.eventTypeId as string[] | undefined;
    const isAbout = (event: Struct, id: string) =>
      Object.values(event).some(
        (value) =>
          isStruct(value) &&
          Object.values(value).some((one) => typeof one === 'object' && 'id' in one && one.id === id),
      );
    return this.#events.filter(
      (event) =>
        // The root folder and the datacenter contain everything.
        (!entity || /^(group-d1|datacenter-)/.test(entity.id) || isAbout(event, entity.id)) &&
        (!types?.length || types.some((type) => event.$type === type.replace(/^vim\.event\./, ''))) &&
        (!time?.beginTime || String(event.createdTime) >= String(time.beginTime)) &&
        (!time?.endTime || String(event.createdTime) <= String(time.endTime)),
    );
  }
}
