/** Methods of the event manager: queries, notes of users, events of extensions, and collectors that page through what happened. */
import { randomUUID } from 'node:crypto';
import { EventCursor } from '../events.ts';
import { isRegisteredEvent, messageOf } from '../extension-texts.ts';
import { requireRoom } from '../sessions.ts';
import type { Vcenter } from '../vcenter.ts';
import { invalidArgument, VimFault } from '../wire/fault.ts';
import { isMoRef, isStruct, type MoRef, moRef, type Struct } from '../wire/values.ts';
import type { Call, Methods } from './method.ts';

const MAX_PAGE = 1000;
const SEVERITIES = ['error', 'warning', 'info', 'user'];

export const eventMethods: Methods = {
  QueryEvents: ({ vcenter, args }) => vcenter.events.query(args.filter as Struct),
  LogUserEvent: ({ vcenter, session, args }) => {
    const object = vcenter.object(args.entity as MoRef);
    const name = String(object.properties.name?.());
    const { ref } = object;
    const about: Struct =
      ref.$ref === 'VirtualMachine'
        ? { vm: { $type: 'VmEventArgument', name, vm: ref } }
        : ref.$ref === 'HostSystem'
          ? { host: { $type: 'HostEventArgument', name, host: ref } }
          : {};
    vcenter.events.note('GeneralUserEvent', session.user, String(args.msg), {
      ...about,
      message: String(args.msg),
    });
    vcenter.wake();
    return undefined;
  },

  PostEvent: ({ vcenter, session, args }) => {
    const {
      $type: type,
      key: _,
      chainId: __,
      createdTime: ___,
      userName: ____,
      ...about
    } = args.eventToPost as Struct;
    if (type !== 'EventEx') throw new VimFault('NotSupported', `the lab posts EventEx, not ${String(type)}`);
    const id = String(about.eventTypeId);
    if (!isRegisteredEvent(vcenter, id)) {
      throw new VimFault('InvalidEvent', `no extension has registered the event ${id}`);
    }
    if (about.severity !== undefined && !SEVERITIES.includes(String(about.severity))) {
      throw invalidArgument('eventToPost.severity', `it is none of ${SEVERITIES.join(', ')}`);
    }
    requireKnown(vcenter, about);
    vcenter.events.note('EventEx', session.user, messageOf(vcenter, about), about);
    vcenter.wake();
    return undefined;
  },

  CreateCollectorForEvents: (call) => {
    const { vcenter, session, args } = call;
    requireRoom(session.events, 'event collectors');
    const cursor = new EventCursor(vcenter.events, args.filter as Struct);
    const ref = moRef('EventHistoryCollector', `session[${session.key}]${randomUUID()}`);
    session.events.set(ref.id, cursor);
    // It belongs to the session as a view does, and is found where a view is.
    session.views.set(ref.id, {
      ref,
      properties: {
        filter: () => cursor.filter,
        initialized: () => true,
        latestPage: () => cursor.latestPage(),
      },
    });
    return ref;
  },
  SetCollectorPageSize: (call) => {
    cursorOf(call).pageSize = countOf(call);
    call.vcenter.wake();
    return undefined;
  },
  RewindCollector: (call) => {
    cursorOf(call).rewind();
    return undefined;
  },
  ResetCollector: (call) => {
    cursorOf(call).reset();
    return undefined;
  },
  ReadNextEvents: (call) => cursorOf(call).next(countOf(call)),
  ReadPreviousEvents: (call) => cursorOf(call).previous(countOf(call)),
  DestroyCollector: (call) => {
    cursorOf(call);
    call.session.events.delete(call.self.id);
    call.session.views.delete(call.self.id);
    return undefined;
  },
};

/** What an event is about is in the inventory, and is what its arguments say it is. */
function requireKnown(vcenter: Vcenter, { objectId, objectType, ...about }: Struct): void {
  for (const argument of Object.values(about)) {
    for (const ref of isStruct(argument) ? Object.values(argument).filter(isMoRef) : []) vcenter.object(ref);
  }
  if (objectId === undefined) return;
  if (objectType === undefined) throw invalidArgument('eventToPost.objectType', 'it is missing');
  vcenter.object(moRef(String(objectType), String(objectId)));
}

function cursorOf({ session, self }: Call): EventCursor {
  const found = session.events.get(self.id);
  if (found) return found;
  throw new VimFault('ManagedObjectNotFound', `there is no collector ${self.id} in this session`, {
    obj: self,
  });
}

function countOf({ args }: Call): number {
  const count = Number(args.maxCount);
  if (count >= 1 && count <= MAX_PAGE) return count;
  throw invalidArgument('maxCount', `${count} is not between 1 and ${MAX_PAGE}`);
}
