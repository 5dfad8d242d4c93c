/* One connection to the gateway, from HELLO to its end. What it reads becomes messages that wait; what is answered
 * goes into its output.
 *
 *     greeting ──WELCOME──▶ open ──DRAIN or leave()──▶ leaving ──nothing unanswered: BYE──▶ said bye ──▶ ended
 *         └────────────────────┴── end of stream, ERROR, no frame ──▶ lost ──────────────────────────────┘ */

import * as frames from './frames.js'
import { contentOf } from './content.js'
import { GatewayGone, ProtocolError, PublishRefused, Refused } from './errors.js'
import { FrameReader, readControl } from './frames.js'
import { Message, deliverFault, recordStart } from './message.js'
import { Output } from './output.js'
import { checkRecord } from './record.js'

const TRIMMED_AT = 256
const REF_MAX = 0xffffffff

/* First in, first out, without moving what waits. */
class Line {
  constructor() {
    this._items = []
    this._first = 0
  }

  get length() {
    return this._items.length - this._first
  }

  push(item) {
    this._items.push(item)
  }

  shift() {
    const item = this._items[this._first]
    this._items[this._first++] = undefined
    if (this._first === this._items.length) this.clear()
    else if (this._first >= TRIMMED_AT && this._first * 2 >= this._items.length) this._trim()
    return item
  }

  _trim() {
    this._items = this._items.slice(this._first)
    this._first = 0
  }

  clear() {
    this._items = []
    this._first = 0
  }
}

/* Messages that were handed out and have no answer yet, linked through themselves. */
class Unanswered {
  constructor() {
    this.count = 0
    this._newest = null
  }

  add(message) {
    message._before = this._newest
    if (this._newest !== null) this._newest._after = message
    this._newest = message
    this.count++
  }

  remove(message) {
    if (message._before !== null) message._before._after = message._after
    if (message._after !== null) message._after._before = message._before
    else this._newest = message._before
    message._before = message._after = null
    this.count--
  }

  find(tag) {
    let message = this._newest
    while (message !== null && !message._hasTag(tag)) message = message._before
    return message
  }

  loseAll(reason) {
    for (let message = this._newest; message !== null; message = message._before) message._lost(reason)
  }
}

export class Connection {
  /**
   * `socket` is a stream that is connected or connecting, `greeting` the HELLO. `changed(n)` is called when n messages came, or (Infinity)
   * when the connection came to another state; `counts` has staleAnswers, refusedPublishes and unheardPublishes.
   */
  constructor(socket, greeting, changed, counts) {
    this._socket = socket
    this._changed = changed
    this._counts = counts
    this._reader = new FrameReader((type, bytes, at, end) => this._frame(type, bytes, at, end))
    this._arrived = 0
    this._unanswered = new Unanswered()
    this._published = new Map()
    this._ref = 0
    this._saidBye = false
    this.output = new Output((bytes) => this._write(bytes))
    this.waiting = new Line()
    /** HELLO said that it waits for several messages before it answers any. */
    this.gathers = false
    this.welcome = null
    this.welcomedAt = 0
    /** DRAIN came, or the program wants to leave: nothing new will come. */
    this.leaving = false
    /** Why it ended before BYE. */
    this.error = null
    this.ended = false
    /** WELCOME came; rejects when something else comes first. */
    this.opened = new Promise((resolve, reject) => {
      this._opened = resolve
      this._notOpened = reject
    })
    this.opened.catch(() => {})
    this._listen()
    socket.write(greeting)
  }

  _listen() {
    const gone = (systemCode) => this._end(this._gone(systemCode))
    this.closed = new Promise((resolve) => this._socket.on('close', resolve))
    this._socket.on('data', (chunk) => this._feed(chunk))
    this._socket.on('end', () => {
      gone()
      this._socket.destroy()
    })
    this._socket.on('drain', () => {
      this.output.blocked = false
      this._changed(Infinity)
    })
    this._socket.on('error', (error) => gone(error.code ?? error.message))
    this._socket.on('close', () => gone())
  }

  _gone(systemCode) {
    return new GatewayGone(this.welcome === null ? 'the gateway does not answer' : 'the gateway has gone', systemCode)
  }

  /** Nothing can be answered any more. */
  get lost() {
    return this.ended || this._saidBye
  }

  /* ---- reading ---- */

  _feed(chunk) {
    if (this.ended) return
    this._arrived = 0
    try {
      this._reader.feed(chunk)
    } catch (error) {
      this._end(error)
      this._socket.destroy()
      return
    }
    if (this._arrived > 0) this._changed(this._arrived)
  }

  _frame(type, bytes, at, end) {
    if (type === frames.DELIVER) this._deliver(bytes, at, end)
    else this._control(type, readControl(type, bytes, at, end))
  }

  _deliver(bytes, at, end) {
    const fault = deliverFault(bytes, at, end)
    if (fault !== undefined) throw new ProtocolError(fault)
    checkRecord(bytes, recordStart(at), end)
    if (this._saidBye) return
    this.waiting.push(new Message(this, bytes, at, end))
    this._arrived++
  }

  _control(type, body) {
    switch (type) {
      case frames.WELCOME: return this._welcomed(body)
      case frames.SOFT_LIMIT: return this._unanswered.find(body.tag)?._softLimit()
      case frames.STALE: return this._stale(body.tag)
      case frames.DRAIN: return this.leave()
      case frames.ERROR: throw new Refused(body.code, body.text)
      default: return this._outcome(body)
    }
  }

  _welcomed(welcome) {
    if (welcome.version !== frames.VERSION) throw new ProtocolError('the gateway speaks another version')
    this.welcome = welcome
    this.welcomedAt = performance.now()
    this._opened()
  }

  _stale(tag) {
    this.countStale()
    const message = this._unanswered.find(tag)
    if (message !== null) message._stale = true
  }

  countStale() {
    this._counts.staleAnswers++
  }

  /* ---- handing out ---- */

  /**
   * The next message that waits, now begun. Undefined: none does, or the socket takes no more answers for now, or
   * answers have waited for long enough and Node's loop must turn first.
   */
  take() {
    if (this.waiting.length === 0 || this.output.blocked || this.output.overdue) return undefined
    const message = this.waiting.shift()
    message._turn = this.output.begin(message._suspect)
    this._unanswered.add(message)
    return message
  }

  /** To be called when the answer is in the output. */
  settled(message) {
    this.output.answered(message._turn)
    this._unanswered.remove(message)
    if (this.leaving) this._perhapsBye()
  }

  /* ---- publishing ---- */

  /** What a publish will send, if it can be sent at all. */
  publishFrame(tag, { topic, payload, contentType, headers, retain, confirm = true }) {
    const content = contentOf(payload, contentType)
    const most = this.welcome.maxMessage
    if (typeof topic !== 'string' || !/^[^+#]+$/s.test(topic)) throw new RangeError(`'${topic}' is no topic to publish to`)
    if (content.data.length > most) throw new RangeError(`the payload is larger than max_message (${most})`)
    const ref = confirm ? this._nextRef() : 0
    return { ref, topic, frame: frames.publish(ref, tag, { topic, content, headers, retain }) }
  }

  /* Of this connection, from 1; 0 asks for no answer. */
  _nextRef() {
    this._ref = this._ref === REF_MAX ? 1 : this._ref + 1
    return this._ref
  }

  /** Resolves when the gateway has stored it: true; false: nobody takes it. At once when no answer is wanted. */
  publish(what) {
    const made = this.publishFrame(null, what)
    const outcome = this._await(made)
    this.output.frame(made.frame)
    return outcome
  }

  /* A promise that nobody awaits must not end the process when the connection does; a refusal is told, so
   * that it is not lost either. */
  publishTied(made) {
    const outcomes = made.map((each) => this._await(each).then((heard) => this._taken(heard), (error) => this._untaken(error)))
    for (const each of made) this.output.frame(each.frame)
    const refused = Promise.all(outcomes).then((errors) => errors.filter((error) => error !== null))
    refused.catch(() => {})
    return refused
  }

  _taken(heard) {
    if (!heard) this._counts.unheardPublishes++
    return null
  }

  _untaken(error) {
    if (!(error instanceof PublishRefused)) throw error
    this._counts.refusedPublishes++
    console.error(`sluice worker: ${error.message}`)
    return error
  }

  _await({ ref, topic }) {
    if (ref === 0) return Promise.resolve(true)
    return new Promise((resolve, reject) => {
      this._published.set(ref, { topic, resolve, reject })
    })
  }

  _outcome({ ref, code, detail }) {
    const one = this._published.get(ref)
    if (one === undefined) return
    this._published.delete(ref)
    if (code === frames.PUBLISHED_STORED || code === frames.PUBLISHED_NOBODY) one.resolve(code === frames.PUBLISHED_STORED)
    else one.reject(new PublishRefused(one.topic, code, detail))
    if (this.leaving) this._perhapsBye()
  }

  /* ---- writing, and the end ---- */

  _write(bytes) {
    return this.ended || this._socket.write(bytes)
  }

  /** Nothing more will come of it. */
  get dry() {
    return this.ended || (this.leaving && this.waiting.length === 0)
  }

  /** What was handed out is finished, then BYE. Messages that wait stay to be taken: see giveBack. */
  leave() {
    this.leaving = true
    this._perhapsBye()
    this._changed(Infinity)
  }

  /** What waits is not begun; the gateway has it back uncharged when this says BYE. */
  giveBack() {
    this.waiting.clear()
    this.leave()
  }

  /** BYE at once; what has no answer goes back uncharged. */
  close() {
    this.leaving = true
    this.waiting.clear()
    this._bye()
    return this.closed
  }

  _perhapsBye() {
    if (this._unanswered.count === 0 && this.waiting.length === 0 && this._published.size === 0) this._bye()
  }

  _bye() {
    if (this.lost) return
    this.output.frame(frames.bye())
    this.output.flush()
    this._saidBye = true
    this._loseAll(new GatewayGone('the connection is closed'))
    this._socket.end(() => this._socket.destroy())
  }

  _end(error) {
    if (this.ended) return
    this.ended = true
    if (!this._saidBye) this.error = error
    this.waiting.clear()
    this._loseAll(error)
    this._changed(Infinity)
  }

  _loseAll(reason) {
    this._notOpened(reason)
    this._unanswered.loseAll(reason)
    for (const { reject } of this._published.values()) reject(reason)
    this._published.clear()
  }
}
