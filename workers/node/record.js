/* The message record of PROTOCOL.md, read in place: nothing is decoded before it is asked for, and the
 * payload is a view of the bytes that were read. */

import { ProtocolError } from './errors.js'
import { u16, u32, u64 } from './frames.js'

const FIXED = 64
const VERSION = 1
const LENGTHS = 40
const HEADERS_LENGTH = 56
const PAYLOAD_LENGTH = 60
const RETAIN = 1
const PROTOCOLS = ['unknown', 'mqtt', 'mqtt', 'stomp', 'http', 'worker', 'schedule']

/* The texts in the record's order. */
export const TOPIC = 0
export const CLIENT_ID = 1
export const USER = 2
export const CONTENT_TYPE = 3
export const CORRELATION = 4
export const REPLY_TO = 5
export const JOB_ID = 6
export const DEDUP_ID = 7
const TEXTS = 8

function malformed() {
  throw new ProtocolError('record-malformed')
}

function checkHeaders(bytes, at, end, count) {
  for (let i = 0; i < count; i++) {
    if (end - at < 4) malformed()
    at += 4 + u16(bytes, at) + u16(bytes, at + 2)
  }
  if (at !== end) malformed()
}

/** The lengths must add up to the record's end exactly; what follows trusts them. */
export function checkRecord(bytes, at, end) {
  if (end - at < FIXED || bytes[at] !== VERSION) malformed()
  let texts = 0
  for (let i = 0; i < TEXTS; i++) texts += u16(bytes, at + LENGTHS + 2 * i)
  const headers = u32(bytes, at + HEADERS_LENGTH)
  if (FIXED + texts + headers + u32(bytes, at + PAYLOAD_LENGTH) !== end - at) malformed()
  checkHeaders(bytes, at + FIXED + texts, at + FIXED + texts + headers, u16(bytes, at + 6))
}

function startOf(bytes, at, text) {
  let start = at + FIXED
  for (let i = 0; i < text; i++) start += u16(bytes, at + LENGTHS + 2 * i)
  return start
}

export function textOf(bytes, at, text) {
  const start = startOf(bytes, at, text)
  return bytes.toString('utf8', start, start + u16(bytes, at + LENGTHS + 2 * text))
}

export function bytesOf(bytes, at, text) {
  const start = startOf(bytes, at, text)
  return bytes.subarray(start, start + u16(bytes, at + LENGTHS + 2 * text))
}

export function headersOf(bytes, at) {
  const pairs = []
  let here = startOf(bytes, at, TEXTS)
  for (let left = u16(bytes, at + 6); left > 0; left--) {
    const name = here + 4
    const value = name + u16(bytes, here)
    const next = value + u16(bytes, here + 2)
    pairs.push([bytes.toString('utf8', name, value), bytes.toString('utf8', value, next)])
    here = next
  }
  return pairs
}

/** Where the payload begins; it ends where the record does. */
export function payloadStart(bytes, at, end) {
  return end - u32(bytes, at + PAYLOAD_LENGTH)
}

function hex(word) {
  return word.toString(16).padStart(8, '0')
}

export function idOf(bytes, at) {
  return hex(u32(bytes, at + 12)) + hex(u32(bytes, at + 8))
}

function dateOf(bytes, at) {
  const ms = u64(bytes, at)
  return ms === 0 ? null : new Date(ms)
}

export const acceptedAt = (bytes, at) => dateOf(bytes, at + 16)
export const deliverAt = (bytes, at) => dateOf(bytes, at + 24)
export const expiresAt = (bytes, at) => dateOf(bytes, at + 32)
export const protocolOf = (bytes, at) => PROTOCOLS[bytes[at + 1]] ?? 'unknown'
export const qosOf = (bytes, at) => bytes[at + 2]
export const priorityOf = (bytes, at) => bytes[at + 3]
export const retainOf = (bytes, at) => (bytes[at + 4] & RETAIN) !== 0
