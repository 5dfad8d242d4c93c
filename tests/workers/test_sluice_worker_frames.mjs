/* The Node.js SDK against the recorded frames: what it writes byte by byte, what it reads as the rows say,
 * at every split, and what it refuses. tests/workers/README.md tells the rules. */

import assert from 'node:assert/strict'
import test from 'node:test'

import { Batch, PublishRefused, ProtocolError, Refused, Worker } from '../../workers/node/index.js'
import { FrameReader, readControl } from '../../workers/node/frames.js'
import { Message } from '../../workers/node/message.js'
import { FRAMES, Gateway, deliver, rowsOf } from './fake_gateway.mjs'

const DELIVER = 0x42
const FLAG_NAMES = { redelivered: 1, lastAttempt: 2, _more: 4 }

/* ---- what the gateway's frames say, as text ---- */

function named(fields) {
  return Object.entries(fields).map(([name, value]) => ` ${name}=${value}`).join('')
}

function described(message, tag) {
  const flags = Object.entries(FLAG_NAMES).reduce((sum, [name, bit]) => sum + (message[name] ? bit : 0), 0)
  const texts = {
    topic: message.topic, client: message.clientId, user: message.user, type: message.contentType,
    correlation: message.correlation.length || '', reply_to: message.replyTo, job: message.jobId, dedup: message.dedupId,
  }
  const present = Object.fromEntries(Object.entries(texts).filter(([, value]) => value !== ''))
  const headers = message.headers.map(([name, value]) => ` ${name}=${value}`).join('')
  return 'DELIVER' + named({
    tag, attempt: message.attempt, max: message.maxAttempts, flags, id: message.id, protocol: message.protocol, ...present,
  }) + headers + named({ payload: message.text() })
}

const WORDS = {
  0x41: (f) => 'WELCOME' + named({
    version: f.version, flags: f.flags, prefetch: f.prefetch, concurrency: f.concurrency, time_limit: f.timeLimit * 1000,
    soft: f.softTimeLimit * 1000, max_message: f.maxMessage, max_result: f.maxResult, queue: f.queue, pool: f.pool, node: f.node,
  }),
  0x43: (f) => `SOFT_LIMIT tag=${f.tag}`,
  0x44: (f) => `STALE tag=${f.tag}`,
  0x45: () => 'DRAIN',
  0x46: (f) => `ERROR code=${f.code} text=${f.text}`,
  0x47: (f) => `PUBLISHED ref=${f.ref} code=${f.code} detail=${f.detail}`,
}

function textOf(type, bytes, at, end) {
  if (type === DELIVER) return described(new Message(null, bytes, at, end), bytes.readBigUInt64LE(at))
  return WORDS[type](readControl(type, bytes, at, end))
}

test('the frames of a gateway are what their texts say, at every split', () => {
  const rows = rowsOf('frames.txt').filter((row) => row.who === 'gateway')
  const stream = Buffer.concat(rows.map((row) => row.bytes))
  const wanted = rows.map((row) => row.text)
  for (let step = 1; step <= stream.length; step++) {
    const seen = []
    const reader = new FrameReader((...frame) => seen.push(textOf(...frame)))
    for (let at = 0; at < stream.length; at += step) reader.feed(stream.subarray(at, at + step))
    assert.deepEqual(seen, wanted)
  }
})

/* ---- what a worker of the SDK makes of them ---- */

async function connected(t, greeting = 'welcome', options = {}) {
  const gateway = await Gateway.open(t)
  const worker = new Worker({ workerSocket: gateway.path, name: 'demo', softLimit: false, signals: false, reconnect: false, ...options })
  const connecting = worker.connect()
  connecting.catch(() => {})
  const peer = (await gateway.accept()).send(greeting)
  t.after(() => worker.close())
  return { worker, peer, connecting }
}

async function welcomed(t, row) {
  const { worker, connecting } = await connected(t, row.name)
  await connecting
  const words = {
    version: 1, flags: (worker.batches ? 1 : 0) + (worker.external ? 2 : 0), prefetch: worker.prefetch, concurrency: worker.concurrency,
    time_limit: worker.timeLimit * 1000, soft: worker.softTimeLimit * 1000, max_message: worker.maxMessage,
    max_result: worker.maxResult, queue: worker.queue, pool: worker.pool, node: worker.node,
  }
  return 'WELCOME' + named(words)
}

async function delivered(t, row) {
  const { worker, peer } = await connected(t)
  peer.send(row.name)
  return described(await worker.next(), row.bytes.readBigUInt64LE(5))
}

async function refused(t, row) {
  const { worker, peer } = await connected(t)
  peer.send(row.name)
  const error = await worker.next().catch((e) => e)
  assert.ok(error instanceof Refused)
  return `ERROR code=${error.code} text=${error.detail}`
}

async function published(t, row) {
  const { worker, peer, connecting } = await connected(t)
  await connecting
  const outcomes = ['a', 'b', 'c', 'd'].map((topic, i) => worker.publish(topic).then(
    (heard) => `PUBLISHED ref=${i + 1} code=${heard ? 0 : 6} detail=`,
    (error) => error instanceof PublishRefused && `PUBLISHED ref=${i + 1} code=${error.code} detail=${error.detail}`,
  ))
  peer.send(row.name)
  return Promise.race(outcomes)
}

async function softLimited(t, row) {
  const { worker, peer } = await connected(t)
  peer.send('deliver-bare')
  const { signal } = await worker.next()
  peer.send(row.name)
  await new Promise((resolve) => signal.addEventListener('abort', resolve))
  assert.equal(signal.reason.name, 'SoftTimeLimit')
  return 'SOFT_LIMIT tag=7'
}

async function stale(t, row) {
  const { worker, peer } = await connected(t)
  peer.send('deliver-bare')
  const message = await worker.next()
  peer.send(row.name, deliver(1))
  await worker.next()
  assert.equal(worker.staleAnswers, 1)
  return message.stale ? 'STALE tag=7' : ''
}

async function drained(t, row) {
  const { worker, peer } = await connected(t)
  peer.send(row.name)
  return (await worker.next()) === null ? 'DRAIN' : ''
}

const UNDERSTOOD = {
  'welcome': welcomed, 'welcome-batches': welcomed, 'welcome-external': welcomed,
  'deliver-bare': delivered, 'deliver-more': delivered, 'deliver-full': delivered,
  'soft-limit': softLimited, 'stale': stale, 'drain': drained, 'error': refused, 'error-denied': refused,
  'published': published, 'published-refused': published, 'published-nobody': published,
}

for (const row of rowsOf('frames.txt').filter((r) => r.who === 'gateway')) {
  test(`the gateway's ${row.name} is understood`, async (t) => {
    assert.ok(row.name in UNDERSTOOD, `frames.txt has the row ${row.name}, which this test does not know`)
    assert.equal(await UNDERSTOOD[row.name](t, row), row.text)
  })
}

/* ---- what its verbs write ---- */

/* Each is given a worker, the message with tag 7, and returns true when the bytes it wants are not alone. */
const VERBS = {
  'ack': (w, m) => m.ack(),
  'ack-text': (w, m) => m.ack('21.5'),
  'ack-json': (w, m) => m.ack({ ok: true }),
  'ack-empty-result': (w, m) => m.ack(Buffer.alloc(0)),
  'acks': async (w, m, peer) => {
    peer.send(deliver(8), deliver(9))
    new Batch([m, await w.next(), await w.next()]).ack()
  },
  'acks-one': (w, m) => new Batch([m]).ack(),
  'retry': (w, m) => m.retry(),
  'retry-later': (w, m) => m.retry({ delay: 5, reason: 'the database is away' }),
  'retry-longest-reason': (w, m) => m.retry({ delay: 0, reason: 'x'.repeat(1023) + '€'.repeat(9) }),
  'release': (w, m) => m.release(),
  'dead': (w, m) => m.dead('no number in it: ü'),
  'progress': (w, m) => m.progress(0.4),
  'extend': (w, m) => m.extend(30),
  'publish': (w) => w.publish('alerts/t', Buffer.from('hot'), { confirm: false }),
  'publish-full': (w, m) => {
    m.publish('alerts/t', { t: 91 }, { retain: true, confirm: false, headers: [['priority', 9], ['site', 'a'], ['site', 'b']] })
    m.ack()
  },
  'publish-ref': async (w, m, peer) => {
    w.publish('x').catch(() => {})
    w.publish('y').catch(() => {})
    await peer.take(2 * FRAMES.get('publish-ref').length)
    w.publish('a').catch(() => {})
  },
  'publish-with': async (w, m, peer) => {
    for (const topic of ['x', 'y', 'z']) w.publish(topic).catch(() => {})
    await peer.take(3 * FRAMES.get('publish-ref').length)
    m.ack(undefined, { publish: [{ topic: 'results/t', payload: '22', contentType: 'text/plain' }] })
  },
  'bye': (w, m, peer) => {
    m.ack()
    w.stop()
    return peer.take(FRAMES.get('ack').length)
  },
}

const GREETINGS = {
  'hello': { softLimit: true, prefetch: 16 },
  'hello-plain': {},
  'hello-gathers': { gathers: true },
  'hello-token': { token: 's3cret' },
}

for (const row of rowsOf('frames.txt').filter((r) => r.who === 'worker')) {
  test(`a worker's ${row.name} is written byte by byte`, async (t) => {
    assert.ok(row.name in VERBS || row.name in GREETINGS, `frames.txt has the row ${row.name}, which this test does not know`)
    const { worker, peer } = await connected(t, 'welcome', GREETINGS[row.name])
    if (row.name in GREETINGS) return peer.expect(row.name)
    peer.send('deliver-bare')
    const message = await worker.next()
    await peer.expect('hello-plain')
    await VERBS[row.name](worker, message, peer)
    worker.flush()
    await peer.expect(row.name)
  })
}

/* ---- what it refuses ---- */

for (const row of rowsOf('faults.txt').filter((r) => r.who === 'gateway')) {
  test(`the fault ${row.name} ends the connection`, async (t) => {
    const instead = row.name.startsWith('welcome-')
    const { worker, peer, connecting } = await connected(t, instead ? row.bytes : 'welcome')
    if (!instead) {
      await connecting
      peer.send(row.bytes)
    }
    await assert.rejects(instead ? connecting : worker.next(), ProtocolError)
    await peer.expectEnd('hello-plain')
  })
}

test('a length beyond all limits is a fault before anything of it is kept', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(Buffer.from('ffffffff42', 'hex'))
  await assert.rejects(worker.next(), /frame-too-large/)
})
