/**
 * One request and its response: what stands between the side that speaks to the client and the side that speaks to the
 * member. Either may be HTTP/1 (client-connection.ts, member-connection.ts) or another version: they meet here in the
 * same events, heads as offsets and bodies as ranges of buffers without framing.
 *
 *   ClientSide ── start, requestBody ──▶ Exchange ── sendHead, sendBody ──▶ MemberSide
 *   ClientSide ◀── sendHead, sendBody ── Exchange ◀── onHead, onBody ────── MemberSide
 *
 * A head is followed by a body in the same call, with the buffer that the head came in, even where no bytes follow:
 * so what is sent is written in place. Buffers change hands with every call.
 */
import type { RequestNote } from './access-log.ts';
import { ALL_BUSY } from './availability.ts';
import type { ClientOrigin, ClientOrigins } from './client-origin.ts';
import type { SessionKey } from './client-sessions.ts';
import type { Rewrite } from './component/rewrites/rewrite.ts';
import { ANSWERED, type Attachment, type BodyFilter } from './component.ts';
import type { ClientSide, ExchangeContext, MemberSide } from './exchange-sides.ts';
import { FieldLines } from './field-lines.ts';
import { FilterChain } from './filter-chain.ts';
import { Head, isIdempotent, METHOD } from './head.ts';
import type { KeptRequest } from './kept-request.ts';
import type { Member } from './member.ts';
import { MemberTarget } from './member-target.ts';
import type { Members } from './members.ts';
import { OwnCookies } from './own-cookies.ts';
import { REFUSALS, refusal } from './refusals.ts';
import type { WaitingRequest } from './request-queue.ts';
import { SentRequest } from './sent-request.ts';
import type { Service } from './service.ts';
import { CLIENT, MEMBER, NOBODY } from './turn-clock.ts';

/** Interim responses of one exchange. */
const MOST_INTERIM = 8;
const NO_FIELDS: readonly Uint8Array[] = [];
const MEMBER_NONE = refusal('member-none');
const MEMBER_BUSY = refusal('member-busy');
const QUEUE_FULL = refusal('queue-full');
const QUEUE_TIMEOUT = refusal('queue-timeout');
const MEMBER_CONNECT = refusal('member-connect');
const TOO_MANY_INTERIM = refusal('member-too-many-interim');
const OVERLOADED = refusal('overloaded');
const UPGRADE_UNASKED = refusal('member-upgrade-unasked');

export class Exchange {
  readonly context: ExchangeContext;
  readonly client: ClientSide;
  service: Service;
  /** Valid until `start` returns. */
  request: Head;
  /** Valid while its head is handed on. */
  response: Head;
  /** Added to the head of the request; by components, for this exchange. */
  readonly requestLines = new FieldLines();
  readonly responseLines = new FieldLines();
  /** What the member is asked for; null where that is what the client asked for. */
  target: MemberTarget | null = null;
  #ownTarget: MemberTarget | null = null;
  /** What the response's body passes. */
  readonly #filters = new FilterChain();
  attachment: Attachment | null = null;
  /** Of the final response's body as it goes on; -1: not known. */
  responseLength = 0;
  /** Codings that the client takes, the one that the response shall have, as bits (coding/accept-encoding.ts). */
  accepted = 0;
  coding = 0;
  /** The request bears what only its client may know. */
  hasSecret = false;
  side: MemberSide | null = null;
  member: Member | null = null;
  /** What the access log keeps of the request. */
  note: RequestNote | null = null;
  /** Who the client is where a trusted proxy says so; null where it is who connected. */
  origin: ClientOrigin | null = null;
  /** Its first bytes are the id that the request has; none where services give none. */
  id: Uint8Array | null = null;
  idLength = 0;
  /** Name of an access rule that the log is to have. */
  rule: Uint8Array | null = null;
  isActive = false;
  method = 0;
  wantsUpgrade = false;
  status = 0;
  /** The refusal, where we refused. */
  refusal = 0;
  startedMs = 0;
  /** When the head of the final response came. */
  answeredMs = 0;
  /** How long it has waited for the client and for the member (turn-clock.ts). */
  clientMs = 0;
  memberMs = 0;
  #waitsFor = NOBODY;
  #waitsSinceMs = 0;
  /** Something has happened to it in this turn. */
  #isTouched = false;
  requestBytes = 0;
  responseBytes = 0;
  isRequestDone = false;
  isResponseDone = false;
  isTunnel = false;
  /** The final head went to the client. */
  isHeadSent = false;
  #sourceHash = 0;
  /** The pool that was chosen for this request, once it was. */
  #members: Members | null = null;
  /** The member that the client's cookie stands for. */
  #wanted: Member | null = null;
  /** Our cookies of this request, where clients get such. */
  #cookies: OwnCookies | null = null;
  /** What tells its client, where sessions are kept by that. */
  #session: SessionKey | null = null;
  /** When the member was chosen. */
  #askedMs = 0;
  /** While it waits for a member. */
  #waiting: WaitingRequest | null = null;
  #interim = 0;
  #retries = 0;
  readonly #sent: SentRequest;

  constructor(context: ExchangeContext, client: ClientSide) {
    this.context = context;
    this.client = client;
    this.#sent = new SentRequest(context.buffers);
    this.service = context.service;
    this.request = noHead;
    this.response = noHead;
  }

  /**
   * A request begins; its body follows by `requestBody`, at once and from then on. `length` of the body, -1: not known.
   * Returns false where the client was answered: then nothing may follow.
   */
  start(head: Head, length: number, wantsUpgrade: boolean, sourceHash: number): boolean {
    this.#reset(head);
    this.wantsUpgrade = wantsUpgrade;
    this.#sourceHash = sourceHash;
    const { origins } = this.service;
    if (origins !== null) this.#findOrigin(origins, head);
    this.context.began(this);
    if (this.service.settings.http.sessionCookie !== undefined) {
      this.#cookies ??= new OwnCookies();
      this.#cookies.take(head, this.context);
    }
    for (const component of this.service.components) {
      const verdict = component.onRequest?.(this) ?? 0;
      if (verdict === 0) continue;
      if (verdict !== ANSWERED) this.refuse(verdict);
      return false;
    }
    const position = this.#find();
    if (position === ALL_BUSY && this.#wait(length)) return true;
    if (!this.#take(position, false)) return false;
    this.side!.sendHead(this, length);
    return true;
  }

  #findOrigin(origins: ClientOrigins, head: Head): void {
    const { clientAddress, tls } = this.client;
    this.origin = origins.find(clientAddress, tls != null, head);
    if (this.origin !== null) this.#sourceHash = this.origin.sourceHash;
  }

  /** What came is no request that can go on: it is answered, counted and logged like one. */
  startRefused(reason: number): void {
    this.#reset(noHead);
    this.method = METHOD.other;
    this.refuse(reason);
  }

  #reset(head: Head): void {
    this.service = this.context.service;
    this.request = head;
    this.isActive = true;
    this.method = head.method;
    this.wantsUpgrade = false;
    this.status = 0;
    this.refusal = 0;
    this.startedMs = this.context.nowMs;
    this.rule = null;
    this.origin = null;
    this.target = null;
    this.idLength = 0;
    this.answeredMs = 0;
    this.#touch();
    this.clientMs = 0;
    this.memberMs = 0;
    this.requestBytes = 0;
    this.responseBytes = 0;
    this.isRequestDone = false;
    this.isResponseDone = false;
    this.isTunnel = false;
    this.isHeadSent = false;
    this.member = null;
    this.#members = null;
    this.#wanted = null;
    this.requestLines.clear();
    this.responseLines.clear();
    this.#interim = 0;
    this.#retries = 0;
  }

  /** For components: begins with a request that was kept, which no component has seen. `proceed` or `respond` follows. */
  startKept(kept: KeptRequest, sourceHash: number): void {
    this.#reset(kept.head);
    this.#sourceHash = sourceHash;
    this.context.began(this);
  }

  get sourceHash(): number {
    return this.#sourceHash;
  }

  /** For components that kept the request, which has no body: it goes to a member now. */
  proceed(kept: KeptRequest): void {
    const { buffers } = this.context;
    const buffer = kept.put(buffers, resumed);
    if (buffer < 0) {
      this.refuse(OVERLOADED);
      return;
    }
    this.request = resumed;
    const position = this.#find();
    if (position !== ALL_BUSY || !this.#wait(0)) {
      if (!this.#take(position, false)) {
        buffers.give(buffer);
        return;
      }
      this.side!.sendHead(this, 0);
    }
    this.requestBody(buffer, resumed.end, resumed.end, true, null);
  }

  /**
   * For components: sends the head of a response that no member gave, which is in `response`, `responseLength` and
   * `responseLines`. Its body has to follow at once, by `passOn`.
   */
  respond(): void {
    this.status = this.response.status;
    this.answeredMs = this.context.nowMs;
    this.isRequestDone = true;
    this.isHeadSent = true;
    this.client.sendHead(this, this.responseLength);
  }

  /** Finds the pool for the request, and who is wanted there, while the head is there. */
  #pool(): Members {
    const { router } = this.service;
    const index = router === null ? -1 : router.choose(this.request);
    // Not by `?? `: looking for position -1 takes as long as parsing a field.
    const members = index < 0 ? this.context.members : this.context.pools[index]!;
    this.#members = members;
    if (members.hasCookies && this.#cookies !== null) this.#wanted = this.#cookies.memberOf(members);
    if (members.sessions !== null) {
      this.#session ??= { high: 0, low: 0, isSet: false };
      this.#wanted = members.sessionOf(this.request, this.client, this.#session);
    }
    return members;
  }

  #find(): number {
    return (this.#members ?? this.#pool()).choose(this.#wanted, this.#sourceHash);
  }

  /** Where there is a queue that has room, the request waits in it; its body is held. */
  #wait(length: number): boolean {
    this.#waiting = this.#members!.wait(this, length, this.#wanted);
    return this.#waiting !== null;
  }

  /** By the queue: it has waited for that member; or for nobody, where NO_MEMBER is left. */
  admit(position: number): void {
    this.#touch();
    const waiting = this.#takeWaiting();
    const { buffers } = this.context;
    this.request = waiting.head;
    const { queue } = this.#members!;
    if (this.#take(position, false)) {
      const side = this.side!;
      side.sendHead(this, waiting.length);
      this.request = noHead;
      waiting.send(buffers);
      if (this.side === side && !side.isFull) this.client.resumeRequest();
    }
    queue.recycle(waiting, buffers);
  }

  /** By the queue. */
  waitedTooLong(): void {
    this.#members!.queue.recycle(this.#takeWaiting(), this.context.buffers);
    this.refuse(QUEUE_TIMEOUT);
  }

  /** For a member that has room. */
  get isWaiting(): boolean {
    return this.#waiting !== null;
  }

  #takeWaiting(): WaitingRequest {
    const waiting = this.#waiting!;
    this.#waiting = null;
    return waiting;
  }

  /** Takes a connection to that member; else refuses. */
  #take(position: number, isFresh: boolean): boolean {
    const members = this.#members!;
    if (position < 0) {
      this.refuse(position !== ALL_BUSY ? MEMBER_NONE : members.hasQueue ? QUEUE_FULL : MEMBER_BUSY);
      return false;
    }
    const side = members.open(position, isFresh, this);
    if (side === null) {
      this.refuse(MEMBER_CONNECT);
      return false;
    }
    this.side = side;
    this.member = side.member;
    this.#askedMs = this.context.nowMs;
    members.began(side.member);
    if (members.sessions !== null && this.#session?.isSet === true) {
      members.sessions.keep(this.#session, side.member);
    }
    return true;
  }

  /** Data of the request's body; the first call comes with the head. Takes the buffer. */
  requestBody(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    this.#touch();
    this.requestBytes += end - at;
    this.isRequestDone = isLast;
    const side = this.side;
    if (side === null) {
      if (this.#waiting === null) this.context.buffers.give(buffer);
      else {
        this.#waiting.hold(buffer, at, end, isLast, trailers);
        if (!isLast) this.client.pauseRequest();
      }
      return;
    }
    side.sendBody(buffer, at, end, isLast, trailers);
    if (side.isFull && !isLast) this.client.pauseRequest();
  }

  /** By the member's side: the request as it was sent, whole, in one buffer. It is kept for a second attempt. */
  keep(buffer: number, at: number, end: number): void {
    this.#sent.keep(buffer, at, end);
  }

  /** The member's side has a head; the body of a final one follows in the same call, unless this returns false. */
  onHead(head: Head, length: number): boolean {
    this.#touch();
    this.#sent.drop();
    this.response = head;
    const isInterim = head.status < 200;
    if (isInterim && head.status !== 101) {
      if (++this.#interim > MOST_INTERIM) {
        this.fail(TOO_MANY_INTERIM);
        return false;
      }
      this.client.sendInterim(this);
      return true;
    }
    if (head.status === 101 && !this.wantsUpgrade) {
      this.fail(UPGRADE_UNASKED);
      return false;
    }
    this.status = head.status;
    this.answeredMs = this.context.nowMs;
    this.#members!.answered(this.side!.member, head.status, this.answeredMs - this.#askedMs);
    this.responseLength = length;
    for (const component of this.service.components) component.onResponse?.(this);
    // Behind the components: what a cache stores must not give one client's cookie to others.
    if (this.#members!.hasCookies) this.#giveCookie(this.#members!);
    this.status = this.response.status;
    this.isHeadSent = true;
    this.client.sendHead(this, this.responseLength);
    return true;
  }

  #giveCookie(members: Members): void {
    const member = this.member!;
    const line = member === this.#wanted ? null : members.cookieLine(member);
    if (line !== null) this.responseLines.push(line);
  }

  /** Data of the response's body. Takes the buffer. */
  onBody(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    this.#touch();
    this.passOn(this.isHeadSent ? this.#filters.first : null, buffer, at, end, isLast, trailers);
  }

  /** For components, while they see the head of a response: its body passes this filter behind those before. */
  addFilter(filter: BodyFilter): void {
    this.#filters.add(filter);
  }

  /** For components: what the member sends goes to this filter alone, which makes a body in its place. */
  replaceFilters(filter: BodyFilter): void {
    this.#filters.close();
    this.#filters.add(filter);
  }

  /** Something happens to it: what it waited for has come. */
  #touch(): void {
    if (this.#isTouched) return;
    this.#isTouched = true;
    const { clock, nowMs } = this.context;
    if (this.#waitsFor === MEMBER) this.memberMs += nowMs - this.#waitsSinceMs;
    else if (this.#waitsFor === CLIENT) this.clientMs += nowMs - this.#waitsSinceMs;
    clock.touched(this);
  }

  /** By the clock, at the end of a turn in which something happened to it: from now on it waits. */
  rest(nowMs: number): void {
    this.#isTouched = false;
    this.#waitsSinceMs = nowMs;
    this.#waitsFor = this.isActive ? this.#whomItWaitsFor() : NOBODY;
  }

  #whomItWaitsFor(): number {
    if (this.isHeadSent && this.client.isFull) return CLIENT;
    const { side } = this;
    if (this.isHeadSent || this.isRequestDone) return side === null ? NOBODY : MEMBER;
    if (this.isWaiting) return NOBODY;
    return side?.isFull === true ? MEMBER : CLIENT;
  }

  /** Whether the response's body passes any filter. */
  get hasFilters(): boolean {
    return this.#filters.first !== null;
  }

  /** Data of the body for that filter, or for the client where there is none. Takes the buffer. */
  passOn(
    filter: BodyFilter | null,
    buffer: number,
    at: number,
    end: number,
    isLast: boolean,
    trailers: Uint8Array | null,
  ): void {
    if (filter !== null) filter.transform(this, buffer, at, end, isLast, trailers);
    else this.filtered(buffer, at, end, isLast, trailers);
  }

  /** By the member's side, which was full: it takes more. */
  memberDrained(): void {
    this.#touch();
    this.client.resumeRequest();
  }

  /** By the client's side, which was full: it takes more. */
  drained(): void {
    this.#touch();
    for (let filter = this.#filters.first; filter !== null; filter = filter.next) filter.resume?.(this);
    if (this.#filters.first === null || !this.client.isFull) this.side?.resumeResponse();
  }

  /** What goes to the client, behind the filters. */
  filtered(buffer: number, at: number, end: number, isLast: boolean, trailers: Uint8Array | null): void {
    this.responseBytes += end - at;
    if (isLast && this.isHeadSent) this.isResponseDone = true;
    if (!isLast && this.client.isFull) this.side?.pauseResponse();
    this.client.sendBody(buffer, at, end, isLast, trailers);
  }

  /** 101: from now on bytes go both ways. */
  onTunnel(): void {
    this.isTunnel = true;
    this.isRequestDone = true;
    this.isResponseDone = true;
    this.client.beginTunnel();
  }

  /**
   * By the member's side, which is closed: the request could not be sent (`wasConnected` false), or the connection ended
   * before the response began. Tries again where that is safe, else refuses with that reason.
   */
  onMemberLost(reason: number, wasConnected: boolean, wasReused: boolean): void {
    this.#touch();
    const lost = this.member;
    const wasHttp2 = this.side?.isHttp2;
    this.#release();
    const isSafe = !wasConnected || (wasReused && isIdempotent(this.method));
    const canRepeat = this.#sent.isKept && isSafe && !this.isHeadSent && this.#interim === 0;
    const { retries } = this.service.settings.http;
    if (!canRepeat || this.#retries >= retries || !this.#members!.mayRepeat()) {
      this.fail(reason);
      return;
    }
    this.#retries++;
    // A second stale connection would only cost the client another round.
    if (
      !this.#take(
        this.#members!.chooseAgain(this.#wanted, this.#sourceHash, wasConnected ? null : lost),
        true,
      )
    )
      return;
    if (this.side!.isHttp2 !== wasHttp2) {
      // The service was changed meanwhile: what is kept is of the other version.
      this.fail(reason);
      return;
    }
    this.#sent.sendAgain(this, this.side!);
  }

  /** Something broke: the client gets a refusal where it has no head yet, else its connection ends. */
  fail(reason: number): void {
    if (!this.isActive) return;
    if (this.isHeadSent) {
      this.refusal = reason;
      this.client.abort(reason);
      this.end();
    } else this.refuse(reason);
  }

  /** Answers with a refusal, and ends the exchange. */
  refuse(reason: number): void {
    const { status, name } = REFUSALS[reason]!;
    if (status >= 500 && this.attachment?.rescue?.(this) === true) return;
    this.refusal = reason;
    const isBusy = reason === MEMBER_BUSY || reason === QUEUE_FULL || reason === QUEUE_TIMEOUT;
    this.answer(status, name, isBusy ? [this.#members!.retryAfter] : NO_FIELDS);
  }

  /** A response of ours, whole. Ends the exchange. */
  answer(status: number, reason: string, fields: readonly Uint8Array[]): void {
    this.status = status;
    this.answeredMs = this.context.nowMs;
    this.isHeadSent = true;
    // It ends the exchange, and may begin the next one.
    this.client.answer(this, status, reason, fields);
  }

  /** For the component that rewrites: the target that it writes. */
  rewriteBy(rewrite: Rewrite): MemberTarget {
    this.#ownTarget ??= new MemberTarget(rewrite);
    this.#ownTarget.begin(rewrite);
    this.target = this.#ownTarget;
    return this.#ownTarget;
  }

  get clientAddress(): string {
    return this.origin === null ? this.client.clientAddress : this.origin.address;
  }

  /** Lines that tell members of the client. */
  get forwardedLines(): Uint8Array {
    return this.origin === null ? this.client.forwardedLines(this) : this.origin.lines;
  }

  get isHead(): boolean {
    return this.method === METHOD.HEAD;
  }

  /** The member's side is done with this exchange and looks after its connection itself. */
  memberDone(): void {
    this.#release();
  }

  #release(): void {
    if (this.side === null) return;
    this.#members!.ended(this.side.member);
    this.side = null;
  }

  /** Over, by whatever way; a member's side that is still in it is cut. */
  end(): void {
    if (!this.isActive) return;
    this.#touch();
    this.isActive = false;
    this.#sent.drop();
    this.#filters.close();
    if (this.#waiting !== null) {
      const { queue } = this.#members!;
      queue.remove(this.#waiting);
      queue.recycle(this.#takeWaiting(), this.context.buffers);
    }
    const side = this.side;
    this.#release();
    side?.abort();
    this.context.ended(this);
    this.request = noHead;
    this.response = noHead;
    const { attachment } = this;
    this.attachment = null;
    attachment?.close();
  }
}

// Read before the next one is put there.
const resumed = new Head();

const noHead = new Head();
