/* recorder.py in Node.js: the same lines, the same environment, and the misbehaviour of the same dice's faces. With
 * RECORD_STYLE=batch it takes batches, and answers each message of one. */

import crypto from 'node:crypto'
import fs from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

import { worker } from '../../../workers/node/index.js'
import * as mischief from './mischief.mjs'

const OUT = fs.openSync(process.env.RECORD_FILE, fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_CREAT, 0o600)
const CHAOS = Number(process.env.RECORD_CHAOS ?? 0)
const WORK_MS = Number(process.env.RECORD_WORK ?? 0) / 1000
const WORSE = Number(process.env.RECORD_WORSE ?? 0)
const POISON = Number(process.env.RECORD_POISON ?? 0)
const FULL = process.env.RECORD_FULL === '1'
const SEED = process.env.RECORD_SEED ?? '0'
const WHO = `${process.pid}.${crypto.randomBytes(4).toString('hex')}`

function note(what, message, word) {
  fs.writeSync(OUT, `${what} ${process.hrtime.bigint()} ${WHO} ${message.id} ${message.attempt} ${word}\n`)
}

function whole(m) {
  const fields = {
    topic: m.topic, payload: m.payload.toString('hex'), headers: m.headers, qos: m.qos, content_type: m.contentType,
    correlation: m.correlation.toString('hex'), reply_to: m.replyTo, protocol: m.protocol, client_id: m.clientId,
  }
  return JSON.stringify(fields).replaceAll(' ', '\\u0020')
}

function uidOf(message) {
  return message.payload.toString('latin1', 0, 64).split(' ')[0] || '-'
}

/* Three dice for each delivery. */
function roll(message, die = 0) {
  const digest = crypto.createHash('md5').update(`${SEED} ${message.id} ${message.attempt} ${WHO}`).digest()
  return digest.readUInt32LE(die * 4) % 20000
}

async function hold(message, ms) {
  const end = performance.now() + ms
  while (performance.now() < end) {
    await pause(5)
    note('H', message, '-')
  }
}

/* Of 20 misbehaviours: 8 retries, 5 releases, 1 dead, 2 kills, 1 exit, 3 long holds. */
async function answer(message) {
  const rolled = roll(message)
  const fate = CHAOS > 0 && rolled < CHAOS * 20 ? Math.trunc(rolled / CHAOS) : 20
  if (fate < 8) {
    note('E', message, 'retry')
    message.retry()
  } else if (fate < 13) {
    note('E', message, 'release')
    message.release()
  } else if (fate < 14) {
    note('E', message, 'dead')
    message.dead('poison')
  } else if (fate < 16) {
    note('X', message, 'kill')
    process.kill(process.pid, 'SIGKILL')
  } else if (fate < 17) {
    note('X', message, 'exit')
    process.exit(3)
  } else {
    if (fate < 20) await hold(message, 60)
    note('E', message, 'ack')
    message.ack()
  }
}

async function work(message) {
  note('S', message, FULL ? whole(message) : uidOf(message))
  if (WORK_MS > 0) await pause(WORK_MS)
  const way = badWay(message)
  if (way === undefined) await answer(message)
  else await way(note, message)
}

/* What is to be done with it instead of an answer. */
function badWay(message) {
  const number = POISON > 0 ? Number(uidOf(message).split('-').at(-1)) : 0
  if (number > 0 && number % POISON === 0) return mischief.POISON[number / POISON % mischief.POISON.length]
  return roll(message, 1) % 1000 < WORSE ? mischief.WAYS[roll(message, 2) % mischief.WAYS.length] : undefined
}

if (process.env.RECORD_STYLE === 'batch') {
  worker.batchHandler(async (batch) => {
    for (const message of batch) await work(message)
  })
} else {
  worker.handler(work)
}
await worker.run()
