import * as frames from './frames.js'
import * as record from './record.js'
import { contentOf } from './content.js'
import { AlreadyAnswered, SoftTimeLimit } from './errors.js'

const ATTEMPT = 8
const MAX_ATTEMPTS = 12
const FLAGS = 16
const RECORD = 17
const REDELIVERED = 1
const LAST_ATTEMPT = 2
const MORE = 4
const KNOWN_FLAGS = REDELIVERED | LAST_ATTEMPT | MORE

/** One delivery. Answer it once: ack, retry, release or dead. Its fields are decoded when asked for. */
export class Message {
  /* The body of a DELIVER lies in bytes[at, end) and was checked. */
  constructor(connection, bytes, at, end) {
    this._connection = connection
    this._bytes = bytes
    this._at = at
    this._end = end
    this._answered = false
    this._stale = false
    this._publishes = null
    this._abort = null
    this._aborted = null
    this._turn = 0
    /* The connection's list of messages that were handed out and have no answer. */
    this._before = null
    this._after = null
  }

  [Symbol.for('nodejs.util.inspect.custom')]() {
    return `Message { id: '${this.id}', topic: ${JSON.stringify(this.topic)}, attempt: ${this.attempt} }`
  }

  /* ---- what it says ---- */

  /** 16 hex digits, unique per gateway. */
  get id() {
    return record.idOf(this._bytes, this._at + RECORD)
  }

  get topic() {
    return this._text(record.TOPIC)
  }

  get clientId() {
    return this._text(record.CLIENT_ID)
  }

  get user() {
    return this._text(record.USER)
  }

  get contentType() {
    return this._text(record.CONTENT_TYPE)
  }

  /** A Buffer. */
  get correlation() {
    return record.bytesOf(this._bytes, this._at + RECORD, record.CORRELATION)
  }

  get replyTo() {
    return this._text(record.REPLY_TO)
  }

  get jobId() {
    return this._text(record.JOB_ID)
  }

  get dedupId() {
    return this._text(record.DEDUP_ID)
  }

  _text(which) {
    return record.textOf(this._bytes, this._at + RECORD, which)
  }

  /** Pairs in the publisher's order; names may repeat. */
  get headers() {
    return record.headersOf(this._bytes, this._at + RECORD)
  }

  /** The value of the first header of that name. */
  header(name) {
    return this.headers.find((pair) => pair[0] === name)?.[1]
  }

  /** The bytes as the device sent them: a view, not a copy. */
  get payload() {
    return this._bytes.subarray(this._payloadStart(), this._end)
  }

  text(encoding = 'utf8') {
    return this._bytes.toString(encoding, this._payloadStart(), this._end)
  }

  json() {
    return JSON.parse(this.text())
  }

  _payloadStart() {
    return record.payloadStart(this._bytes, this._at + RECORD, this._end)
  }

  get protocol() {
    return record.protocolOf(this._bytes, this._at + RECORD)
  }

  get qos() {
    return record.qosOf(this._bytes, this._at + RECORD)
  }

  get priority() {
    return record.priorityOf(this._bytes, this._at + RECORD)
  }

  get retain() {
    return record.retainOf(this._bytes, this._at + RECORD)
  }

  /** Dates; null when the message has none. */
  get acceptedAt() {
    return record.acceptedAt(this._bytes, this._at + RECORD)
  }

  get deliverAt() {
    return record.deliverAt(this._bytes, this._at + RECORD)
  }

  get expiresAt() {
    return record.expiresAt(this._bytes, this._at + RECORD)
  }

  get queue() {
    return this._connection.welcome.queue
  }

  /** From 1. */
  get attempt() {
    return frames.u32(this._bytes, this._at + ATTEMPT)
  }

  /** 0: no limit. */
  get maxAttempts() {
    return frames.u32(this._bytes, this._at + MAX_ATTEMPTS)
  }

  get redelivered() {
    return (this._bytes[this._at + FLAGS] & REDELIVERED) !== 0
  }

  get lastAttempt() {
    return (this._bytes[this._at + FLAGS] & LAST_ATTEMPT) !== 0
  }

  /* ---- how it stands ---- */

  get answered() {
    return this._answered
  }

  /** It is no longer this worker's: an answer changes nothing and is only counted. */
  get stale() {
    return this._stale
  }

  /** Aborted with SoftTimeLimit when the soft time limit has passed, with GatewayGone when the connection is lost. */
  get signal() {
    if (this._abort === null) {
      this._abort = new AbortController()
      if (this._aborted !== null) this._abort.abort(this._aborted)
    }
    return this._abort.signal
  }

  _abortWith(reason) {
    if (this._aborted !== null) return
    this._aborted = reason
    this._abort?.abort(reason)
  }

  _softLimit() {
    this._abortWith(new SoftTimeLimit())
  }

  _lost(reason) {
    this._stale = true
    this._abortWith(reason)
  }

  /* ---- answers ---- */

  /**
   * Done. The result (bytes, text, anything else as JSON) goes to replyTo. What is published with the ack is stored
   * together with it or not at all; with publishes, a promise of those that were refused is returned.
   */
  ack(result, options) {
    if (options === undefined && (result === undefined || result === null) && this._publishes === null) return this._plainAck()
    return this._fullAck(result, options)
  }

  /* `type`: ACKS when it is one of many. */
  _plainAck(type) {
    this._mayAnswer()
    const connection = this._answer()
    if (connection === null) return
    connection.output.ack(this._bytes, this._at, type)
    connection.settled(this)
  }

  _fullAck(result, { contentType, publish = [] } = {}) {
    this._mayAnswer()
    const made = result === undefined || result === null ? null : this._resultFrame(result, contentType)
    const tied = publish.length === 0 ? this._publishes : this._tie(publish)
    const connection = this._answer()
    if (connection === null) return undefined
    const refused = tied === null ? undefined : connection.publishTied(tied)
    if (made === null) connection.output.ack(this._bytes, this._at)
    else connection.output.frame(made)
    connection.settled(this)
    return refused
  }

  _resultFrame(result, contentType) {
    const content = contentOf(result, contentType)
    const most = this._connection.welcome.maxResult
    if (content.data.length > most) throw new RangeError(`the result is larger than max_result (${most})`)
    return frames.ackWithResult(this._bytes, this._at, content)
  }

  /** A failed attempt: again after `delay` seconds, or after the queue's backoff. */
  retry({ delay, reason = '' } = {}) {
    this._mayAnswer()
    this._answerWith(frames.retry(this._bytes, this._at, delay, reason))
  }

  /** Not my fault: to another worker, not counted. */
  release() {
    this._mayAnswer()
    this._answerWith(frames.release(this._bytes, this._at))
  }

  /** Poison: to the dead letters at once. */
  dead(reason = '') {
    this._mayAnswer()
    this._answerWith(frames.dead(this._bytes, this._at, reason))
  }

  _mayAnswer() {
    if (this._answered) throw new AlreadyAnswered()
  }

  _answerWith(frame) {
    const connection = this._answer()
    if (connection === null) return
    connection.output.frame(frame)
    connection.settled(this)
  }

  /* The connection to answer on; null when it is gone, and the answer only counted. */
  _answer() {
    this._answered = true
    if (!this._connection.lost) return this._connection
    this._connection.countStale()
    return null
  }

  /* ---- while it is being worked on ---- */

  /** 0 to 1; written at once. */
  progress(done) {
    this._tell(frames.progress(this._bytes, this._at, done))
  }

  /** The time limit is this many seconds away from now on; written at once. */
  extend(seconds) {
    this._tell(frames.extend(this._bytes, this._at, seconds))
  }

  _tell(frame) {
    this._mayAnswer()
    if (this._connection.lost) return
    this._connection.output.frame(frame)
    this._connection.output.flush()
  }

  /** As worker.publish, but stored together with this message's ack, and only then. */
  publish(topic, payload, options = {}) {
    this._mayAnswer()
    this._publishes = this._tie([{ ...options, topic, payload }])
  }

  /* All of them can be sent, or none is kept. */
  _tie(publishes) {
    const tag = { bytes: this._bytes, at: this._at }
    const made = publishes.map((each) => this._connection.publishFrame(tag, each))
    return this._publishes === null ? made : [...this._publishes, ...made]
  }

  /* ---- for the connection and the batch ---- */

  _ackAsOneOfMany() {
    if (this._publishes === null) this._plainAck(frames.ACKS)
    else this._fullAck()
  }

  get _more() {
    return (this._bytes[this._at + FLAGS] & MORE) !== 0
  }

  /* It may have been delivered before. */
  get _suspect() {
    return this.redelivered || this.attempt > 1
  }

  _hasTag(tag) {
    return this._bytes.readBigUInt64LE(this._at) === tag
  }
}

/** What is wrong with the body of a DELIVER in bytes[at, end); undefined: nothing. */
export function deliverFault(bytes, at, end) {
  if (end - at < RECORD) return 'body-short'
  if ((frames.u32(bytes, at) | frames.u32(bytes, at + 4)) === 0) return 'tag-zero'
  if ((bytes[at + FLAGS] & ~KNOWN_FLAGS) !== 0) return 'flags-unknown'
  if (frames.u32(bytes, at + ATTEMPT) === 0) return 'attempt-zero'
  return undefined
}

export const recordStart = (at) => at + RECORD
