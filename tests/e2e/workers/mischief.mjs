/* mischief.py in Node.js: the same ways, the same environment. */

import crypto from 'node:crypto'
import fs from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

const SWELL = Number(process.env.RECORD_SWELL ?? 0)
const NEVER_GIVEN = 1000n << 20n
const FOR_EVER_MS = 600000

function tagOf(message) {
  return message._bytes.readBigUInt64LE(message._at)
}

function ackFrame(tag) {
  const frame = Buffer.alloc(13)
  frame.writeUInt32LE(9, 0)
  frame[4] = 2
  frame.writeBigUInt64LE(tag, 5)
  return frame
}

/* Behind what the SDK has written. False when nobody listens any more. */
function lie(message, data) {
  try {
    message._connection.output.flush()
    fs.writeSync(message._connection._socket._handle.fd, data)
    return true
  } catch {
    return false
  }
}

function kill(note, message) {
  note('X', message, 'kill')
  process.kill(process.pid, 'SIGKILL')
}

function leave(note, message) {
  note('X', message, 'exit')
  process.exit(3)
}

async function hang(note, message) {
  note('X', message, 'hang')
  await pause(FOR_EVER_MS)
}

async function swell(note, message) {
  const memory = Buffer.alloc(SWELL << 20, 'x')
  for (let i = 0; i < 24; i++) {
    await pause(50)
    note('H', message, '-')
  }
  note('E', message, 'ack')
  message.ack()
  return memory.length
}

async function garbage(note, message) {
  note('X', message, 'garbage')
  lie(message, crypto.randomBytes(40))
  await pause(FOR_EVER_MS)
}

function half(note, message) {
  note('X', message, 'half')
  lie(message, ackFrame(tagOf(message)).subarray(0, 7))
  process.exit(0)
}

async function close(note, message) {
  note('X', message, 'close')
  message._connection._socket.destroy()
  await pause(50)
  process.exit(0)
}

function twice(note, message) {
  note('E', message, 'ack')
  message.ack()
  if (lie(message, ackFrame(tagOf(message)))) note('F', message, 'twice')
}

/** And then acked, when another has it. */
async function released(note, message) {
  note('E', message, 'release')
  message.release()
  message._connection.output.flush()
  await pause(150)
  if (lie(message, ackFrame(tagOf(message)))) note('F', message, 'released')
}

async function foreign(note, message) {
  note('X', message, 'foreign')
  lie(message, ackFrame(tagOf(message) + NEVER_GIVEN))
  await pause(FOR_EVER_MS)
}

export const POISON = [kill, leave, garbage, close]
export const WAYS = [hang, swell, garbage, half, close, twice, released, foreign, twice, released]
