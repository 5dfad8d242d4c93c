/* The frames of workers/PROTOCOL.md: bytes to frames at any split, and the worker's frames to bytes. */

import { isUtf8 } from 'node:buffer'

import { ProtocolError, checkDelay } from './errors.js'

export const VERSION = 1

export const HELLO = 0x01
export const ACK = 0x02
export const RETRY = 0x03
export const RELEASE = 0x04
export const DEAD = 0x05
export const PROGRESS = 0x06
export const EXTEND = 0x07
export const PUBLISH = 0x08
export const BYE = 0x09
export const ACKS = 0x0a

export const WELCOME = 0x41
export const DELIVER = 0x42
export const SOFT_LIMIT = 0x43
export const STALE = 0x44
export const DRAIN = 0x45
export const ERROR = 0x46
export const PUBLISHED = 0x47

export const PUBLISHED_STORED = 0
export const PUBLISHED_NOBODY = 6

export const WANTS_SOFT_LIMIT = 1
export const GATHERS = 2
export const WELCOME_BATCHES = 1
export const WELCOME_EXTERNAL = 2

const HEAD = 5
const FRAME_MAX = 1 << 30
const NAME_MAX = 255
const REASON_MAX = 1024
const DELAY_BY_QUEUE = -1n
const NONE = Buffer.alloc(0)

/* ---- reading ---- */

export function u16(b, at) {
  return b[at] | (b[at + 1] << 8)
}

export function u32(b, at) {
  return (b[at] | (b[at + 1] << 8) | (b[at + 2] << 16) | (b[at + 3] << 24)) >>> 0
}

/** Exact up to 2^53, which no time or count of ours passes. */
export function u64(b, at) {
  return u32(b, at) + u32(b, at + 4) * 0x100000000
}

function lengthOf(b, at) {
  const length = u32(b, at)
  if (length === 0) throw new ProtocolError('frame-empty')
  if (length > FRAME_MAX) throw new ProtocolError('frame-too-large')
  return length
}

/**
 * Cuts a stream of chunks into frames and gives each to `take(type, bytes, at, end)`, where the body
 * lies in bytes[at, end). Frames that lie in one chunk are not copied; one that a read cut in two is
 * put together once, in memory of its own size.
 */
export class FrameReader {
  constructor(take) {
    this._take = take
    this._head = Buffer.alloc(4)
    this._whole = NONE
    this._have = 0
  }

  feed(chunk) {
    let at = this._have > 0 ? this._complete(chunk) : 0
    const end = chunk.length
    while (end - at >= HEAD) {
      const after = at + 4 + lengthOf(chunk, at)
      if (after > end) break
      this._take(chunk[at + 4], chunk, at + HEAD, after)
      at = after
    }
    if (at < end) this._begin(chunk, at)
  }

  /* The start of a frame whose end has not come yet. Its length may be cut, too. */
  _begin(chunk, at) {
    this._have = chunk.copy(this._head, 0, at)
    if (this._have < 4) return
    this._whole = Buffer.allocUnsafeSlow(4 + lengthOf(this._head, 0))
    this._have = chunk.copy(this._whole, 0, at)
  }

  /* Where in the chunk the next frame begins. */
  _complete(chunk) {
    let at = 0
    if (this._have < 4) {
      at = chunk.copy(this._head, this._have)
      this._have += at
      if (this._have < 4) return at
      this._whole = Buffer.allocUnsafeSlow(4 + lengthOf(this._head, 0))
      this._head.copy(this._whole)
    }
    const n = chunk.copy(this._whole, this._have, at)
    this._have += n
    if (this._have === this._whole.length) this._finish()
    return at + n
  }

  _finish() {
    const whole = this._whole
    this._whole = NONE
    this._have = 0
    this._take(whole[4], whole, HEAD, whole.length)
  }
}

/* Reads one body; fields that are not there, and bytes that no field took, are faults. */
class Body {
  constructor(bytes, at, end) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  _skip(n) {
    const at = this.at
    if (this.end - at < n) throw new ProtocolError('body-short')
    this.at = at + n
    return at
  }

  u8() {
    return this.bytes[this._skip(1)]
  }

  u16() {
    return u16(this.bytes, this._skip(2))
  }

  u32() {
    return u32(this.bytes, this._skip(4))
  }

  tag() {
    const tag = this.bytes.readBigUInt64LE(this._skip(8))
    if (tag === 0n) throw new ProtocolError('tag-zero')
    return tag
  }

  text() {
    const n = this.u16()
    const at = this._skip(n)
    const text = this.bytes.subarray(at, at + n)
    if (!isUtf8(text) || text.includes(0)) throw new ProtocolError('text-not-utf8')
    return text.toString()
  }

  done(fields) {
    if (this.at !== this.end) throw new ProtocolError('body-long')
    return fields
  }
}

const READERS = {
  [WELCOME](body) {
    const version = body.u8()
    const flags = body.u8()
    body.u16()
    return {
      version, flags,
      prefetch: body.u32(), concurrency: body.u32(),
      timeLimit: body.u32() / 1000, softTimeLimit: body.u32() / 1000,
      maxMessage: body.u32(), maxResult: body.u32(),
      queue: body.text(), pool: body.text(), node: body.text(),
    }
  },
  [SOFT_LIMIT]: (body) => ({ tag: body.tag() }),
  [STALE]: (body) => ({ tag: body.tag() }),
  [DRAIN]: () => ({}),
  [ERROR]: (body) => ({ code: body.u16(), text: body.text() }),
  [PUBLISHED]: (body) => ({ ref: body.u32(), code: body.u8(), detail: body.text() }),
}

/** The fields of a frame of the gateway other than DELIVER. */
export function readControl(type, bytes, at, end) {
  const read = READERS[type]
  if (read === undefined) throw new ProtocolError('type-unknown')
  const body = new Body(bytes, at, end)
  return body.done(read(body))
}

/* ---- writing ---- */

/* A new frame with a body of n bytes to be written from HEAD on. */
function frameOf(type, n) {
  if (n >= FRAME_MAX) throw new RangeError('the frame is too large')
  const frame = Buffer.allocUnsafe(HEAD + n)
  frame.writeUInt32LE(n + 1, 0)
  frame[4] = type
  return frame
}

/* UTF-8, cut at a character's start. NUL is not allowed on the wire. */
function cut(text, limit) {
  const bytes = Buffer.from(String(text).replaceAll('\0', '?'))
  if (bytes.length <= limit) return bytes
  let n = limit
  while ((bytes[n] & 0xc0) === 0x80) n--
  return bytes.subarray(0, n)
}

function strict(what, text) {
  const bytes = Buffer.from(String(text))
  if (bytes.length > 0xffff || bytes.includes(0)) throw new RangeError(`${what} is too long or holds NUL`)
  return bytes
}

function putText(frame, at, text) {
  frame.writeUInt16LE(text.length, at)
  return at + 2 + text.copy(frame, at + 2)
}

export function hello({ name, prefetch, softLimit, token, gathers }) {
  const named = cut(name, NAME_MAX)
  const secret = token ? strict('the token', token) : undefined
  const frame = frameOf(HELLO, 10 + named.length + (secret ? 2 + secret.length : 0))
  frame[5] = VERSION
  frame[6] = (softLimit ? WANTS_SOFT_LIMIT : 0) | (gathers ? GATHERS : 0)
  frame.writeUInt16LE(0, 7)
  frame.writeUInt32LE(prefetch, 9)
  const at = putText(frame, 13, named)
  if (secret) putText(frame, at, secret)
  return frame
}

/** Frames that name a delivery take its tag as it came: the eight bytes at `at` of `bytes`. */
function tagged(type, bytes, at, n) {
  const frame = frameOf(type, 8 + n)
  bytes.copy(frame, HEAD, at, at + 8)
  return frame
}

export function ackWithResult(bytes, at, { data, type }) {
  const kind = strict('the content type', type)
  const frame = tagged(ACK, bytes, at, 2 + kind.length + data.length)
  frame.set(data, putText(frame, 13, kind))
  return frame
}

/** `delay` in seconds; undefined: the queue's backoff. */
export function retry(bytes, at, delay, reason) {
  checkDelay(delay)
  const why = cut(reason, REASON_MAX)
  const frame = tagged(RETRY, bytes, at, 10 + why.length)
  frame.writeBigInt64LE(delay === undefined ? DELAY_BY_QUEUE : BigInt(Math.trunc(delay * 1000)), 13)
  putText(frame, 21, why)
  return frame
}

export function release(bytes, at) {
  return tagged(RELEASE, bytes, at, 0)
}

export function dead(bytes, at, reason) {
  const why = cut(reason, REASON_MAX)
  const frame = tagged(DEAD, bytes, at, 2 + why.length)
  putText(frame, 13, why)
  return frame
}

export function progress(bytes, at, done) {
  if (!(done >= 0 && done <= 1)) throw new RangeError('progress is between 0 and 1')
  const frame = tagged(PROGRESS, bytes, at, 2)
  frame.writeUInt16LE(Math.round(done * 1000), 13)
  return frame
}

export function extend(bytes, at, seconds) {
  const ms = Math.trunc(seconds * 1000)
  if (!(ms > 0 && ms <= 0xffffffff)) throw new RangeError('an extension is at least 1 ms and at most 49 days')
  const frame = tagged(EXTEND, bytes, at, 4)
  frame.writeUInt32LE(ms, 13)
  return frame
}

function pairsOf(headers) {
  if (headers === undefined) return []
  return Symbol.iterator in headers ? [...headers] : Object.entries(headers)
}

function headerBlock(pairs) {
  const parts = []
  for (const [key, text] of pairs) {
    const name = strict('a header name', key)
    const value = strict('a header value', text)
    if (name.length === 0) throw new RangeError('a header has a name')
    const pair = Buffer.allocUnsafe(4 + name.length + value.length)
    pair.writeUInt16LE(name.length, 0)
    pair.writeUInt16LE(value.length, 2)
    name.copy(pair, 4)
    value.copy(pair, 4 + name.length)
    parts.push(pair)
  }
  return Buffer.concat(parts)
}

/** `tag`: the delivery it is tied to, as { bytes, at }; null: it stands for itself. */
export function publish(ref, tag, { topic, content, headers, retain }) {
  const to = strict('the topic', topic)
  const kind = strict('the content type', content.type)
  const pairs = pairsOf(headers)
  if (pairs.length > 0xffff) throw new RangeError('these are too many headers')
  const block = headerBlock(pairs)
  const frame = frameOf(PUBLISH, 23 + to.length + kind.length + block.length + content.data.length)
  frame.writeUInt32LE(ref, 5)
  frame[9] = retain ? 1 : 0
  frame.fill(0, 10, 18)
  if (tag !== null) tag.bytes.copy(frame, 10, tag.at, tag.at + 8)
  let at = putText(frame, putText(frame, 18, to), kind)
  frame.writeUInt16LE(pairs.length, at)
  frame.writeUInt32LE(block.length, at + 2)
  at += 6
  at += block.copy(frame, at)
  frame.set(content.data, at)
  return frame
}

export function bye() {
  return frameOf(BYE, 0)
}
