/* The Node.js SDK against a gateway that lives in the test: its life, handlers, batches, and what happens when things
 * go wrong. The bytes are the matter of test_sluice_worker_frames.mjs. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import test from 'node:test'
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import * as sdk from '../../workers/node/index.js'
import { FRAMES, Gateway, Peer, acks, deliver, tagged, welcome } from './fake_gateway.mjs'

const SDK = fileURLToPath(new URL('../../workers/node/index.js', import.meta.url))
const EXAMPLES = path.join(path.dirname(SDK), 'examples')

/* A worker and the gateway's end of its connection, HELLO and WELCOME exchanged. */
async function connected(t, options = {}, greeting = 'welcome', hello = 'hello-plain') {
  const gateway = await Gateway.open(t)
  const worker = new sdk.Worker({
    workerSocket: gateway.path, name: 'demo', softLimit: false, signals: false, reconnect: false, ...options,
  })
  t.after(() => worker.close())
  const peer = await accepted(gateway, worker, greeting, hello)
  return { gateway, worker, peer }
}

async function accepted(gateway, worker, greeting, hello) {
  const connecting = worker.connect()
  const peer = (await gateway.accept()).send(greeting)
  await connecting
  await peer.expect(hello)
  return peer
}

function quiet(t) {
  return t.mock.method(console, 'error', () => {})
}

function running(worker, handle) {
  worker.handler(handle)
  return worker.run({ exit: false })
}

function reasonFrame(name, tag, reason) {
  const text = Buffer.from(reason)
  const head = tagged(name, tag).subarray(0, name === 'retry' ? 21 : 13)
  const frame = Buffer.concat([head, Buffer.from([text.length, text.length >> 8]), text])
  frame.writeUInt32LE(frame.length - 4, 0)
  return frame
}

/* A gate that handlers wait behind. */
function gate() {
  let open
  const closed = new Promise((resolve) => {
    open = resolve
  })
  return { open, closed }
}

/* ---- life ---- */

test('drain finishes what was delivered', async (t) => {
  const { worker, peer } = await connected(t)
  const seen = []
  peer.send(deliver(1), deliver(2), 'drain')
  await running(worker, (m) => void seen.push(m.id))
  assert.deepEqual(seen, ['0000000000000001', '0000000000000002'])
  await peer.expectEnd(acks(1, 2), 'bye')
})

test('drain waits for handlers that have begun', async (t) => {
  const { worker, peer } = await connected(t)
  const { open, closed } = gate()
  const begun = gate()
  const end = running(worker, () => (begun.open(), closed))
  peer.send(deliver(1))
  await begun.closed
  peer.send('drain')
  open()
  await end
  await peer.expectEnd(tagged('ack', 1), 'bye')
})

test('stop finishes what has begun and gives the rest back', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1), deliver(2))
  await running(worker, () => worker.stop())
  await peer.expectEnd(tagged('ack', 1), 'bye')
})

test('SIGTERM stops, and is left alone afterwards', async (t) => {
  const { worker, peer } = await connected(t, { signals: true })
  const end = running(worker, () => process.kill(process.pid, 'SIGTERM') && turn())
  peer.send(deliver(1))
  await end
  await peer.expectEnd(tagged('ack', 1), 'bye')
  assert.equal(process.listenerCount('SIGTERM'), 0)
})

test('close leaves at once, and what is answered afterwards is only counted', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1))
  const message = await worker.next()
  await worker.close()
  message.ack()
  assert.equal(worker.staleAnswers, 1)
  await peer.expectEnd('bye')
})

test('a gateway that is gone is not a drain', async (t) => {
  const { worker, peer } = await connected(t)
  const end = running(worker, () => {})
  peer.socket.destroy()
  await assert.rejects(end, sdk.GatewayGone)
})

test('a refusal carries the words of the gateway although writing went on', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1))
  const message = await worker.next()
  peer.send('error').socket.end()
  message.ack()
  await assert.rejects(worker.next(), (error) => error instanceof sdk.Refused && error.code === 2 && error.detail === 'type-unknown')
})

test('an answer on a lost connection is counted, never sent, and its signal tells', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1))
  const message = await worker.next()
  peer.socket.destroy()
  await assert.rejects(worker.next(), sdk.GatewayGone)
  message.retry()
  assert.deepEqual([worker.staleAnswers, message.stale, message.signal.reason.name], [1, true, 'GatewayGone'])
  assert.throws(() => message.ack(), sdk.AlreadyAnswered)
})

/* ---- as a process: by SLUICE_FD ---- */

function started(t, script, { fd = true, env = {} } = {}) {
  const source = `import * as sdk from ${JSON.stringify(SDK)}\nconst { worker } = sdk\n${script}`
  return spawned(t, ['--input-type=module', '-e', source], { fd, env })
}

function spawned(t, args, { fd, env }) {
  const { SLUICE_FD, SLUICE_SOCKET, ...environment } = process.env
  const child = spawn(process.execPath, args, {
    env: { ...environment, ...(fd ? { SLUICE_FD: '3' } : {}), ...env },
    stdio: ['ignore', 'pipe', 'pipe', ...(fd ? ['pipe'] : [])],
  })
  t.after(() => child.kill('SIGKILL'))
  child.said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (child.said += text))
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal)
  return { child, ended, peer: fd ? new Peer(child.stdio[3]) : null }
}

const HELLO = 19

test('a worker that the gateway started speaks on SLUICE_FD and ends with 0', async (t) => {
  const { child, ended, peer } = started(t, 'worker.handler(async (m) => ({ ok: m.queue === "telemetry" }))\nawait worker.run()')
  peer.send('welcome', deliver(7), 'drain')
  await peer.take(HELLO)
  await peer.expectEnd('ack-json', 'bye')
  assert.equal(await ended, 0, child.said)
})

test('a loop ends the process by itself after a drain', async (t) => {
  const { child, ended, peer } = started(t, 'for await (const m of worker.messages()) m.ack()')
  peer.send('welcome', deliver(1), 'drain')
  await peer.take(HELLO)
  await peer.expectEnd(tagged('ack', 1), 'bye')
  assert.equal(await ended, 0, child.said)
})

test('SIGTERM while waiting ends the process with 0', async (t) => {
  const { child, ended, peer } = started(t, 'worker.handler(() => {})\nawait worker.run()')
  peer.send('welcome', deliver(1))
  await peer.take(HELLO)
  await peer.expect(tagged('ack', 1))
  child.kill('SIGTERM')
  await peer.expectEnd('bye')
  assert.equal(await ended, 0, child.said)
})

test('a gateway that is gone ends the process with 1 and one line', async (t) => {
  const { child, ended, peer } = started(t, 'worker.handler(() => {})\nawait worker.run()')
  peer.send('welcome').socket.end()
  assert.equal(await ended, 1)
  assert.equal(child.said, 'sluice worker: the gateway has gone\n')
})

test('an exception beside the handler ends the process without BYE, and what was answered still counts', async (t) => {
  const { ended, peer } = started(t, `
    worker.handler((m) => { if (m.text() === 'b') setImmediate(() => { throw new Error('lost') }); if (m.text() === 'b') return new Promise(() => {}) })
    await worker.run()`)
  peer.send('welcome', deliver(1, { payload: 'a' }), deliver(2, { payload: 'b' }))
  await peer.take(HELLO)
  await peer.expectEnd(tagged('ack', 1))
  assert.equal(await ended, 1)
})

test('answers that were gathered are written when the program calls exit', async (t) => {
  const { ended, peer } = started(t, 'const m = await worker.next()\nm.ack()\nprocess.exit(0)')
  peer.send('welcome', deliver(1), deliver(2))
  await peer.take(HELLO)
  await peer.expectEnd(tagged('ack', 1))
  assert.equal(await ended, 0)
})

test('the socket is not inherited by children of the handler', async (t) => {
  const { child, ended, peer } = started(t, `
    import { execFileSync } from 'node:child_process'
    worker.handler(() => { try { return execFileSync('readlink', ['/proc/self/fd/3'], { encoding: 'utf8' }) } catch { return 'closed' } })
    await worker.run()`)
  peer.send('welcome', deliver(7), 'drain')
  await peer.take(HELLO)
  const answer = await peer.take(4096)
  assert.ok(!answer.includes('socket:'), child.said)
  assert.equal(await ended, 0, child.said)
})

test('by hand it says what is missing and exits with 2', async (t) => {
  const { child, ended } = spawned(t, [path.join(EXAMPLES, 'print_telemetry.js')], { fd: false, env: {} })
  assert.equal(await ended, 2)
  assert.match(child.said, /^sluice worker: SLUICE_FD is not set[^\n]*\n$/)
})

test('a SLUICE_FD that is no socket is told, too', async (t) => {
  for (const [fd, code] of [['77', 2], ['x', 2]]) {
    const { child, ended } = started(t, 'worker.handler(() => {})\nawait worker.run()', { fd: false, env: { SLUICE_FD: fd } })
    assert.equal(await ended, code)
    assert.match(child.said, /^sluice worker: SLUICE_FD=\S+ is not an open socket[^\n]*\n$/)
  }
})

/* ---- reading ---- */

test('every field of a message can be asked for', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send('deliver-full')
  const m = await worker.next()
  assert.deepEqual([m.id, m.topic, m.clientId, m.user, m.contentType], ['00000020000000a0', 'site/1/t', 'dev-1', 'ann', 'application/json'])
  assert.deepEqual([m.correlation, m.replyTo, m.jobId, m.dedupId], [Buffer.from([1, 2]), 'r/1', 'j-1', 'd-1'])
  assert.deepEqual([m.protocol, m.qos, m.priority, m.retain, m.queue], ['stomp', 2, 9, true, 'telemetry'])
  assert.deepEqual([m.payload, m.text(), m.json()], [Buffer.from('{"t":21.5}'), '{"t":21.5}', { t: 21.5 }])
  assert.deepEqual([m.attempt, m.maxAttempts, m.redelivered, m.lastAttempt, m.answered], [5, 5, true, true, false])
  assert.deepEqual(m.headers, [['k', 'v'], ['k', 'w'], ['unit', '°C']])
  assert.deepEqual([m.header('k'), m.header('none')], ['v', undefined])
  assert.equal(m.acceptedAt.toISOString(), '2023-11-14T22:13:20.123Z')
  assert.deepEqual([m.deliverAt.getTime(), m.expiresAt.getTime()], [1700000001000, 1700000002000])
})

test('a bare message has empty fields', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send('deliver-bare')
  const m = await worker.next()
  assert.deepEqual([m.topic, m.clientId, m.payload.length, m.headers, m.deliverAt, m.redelivered], ['t', '', 0, [], null, false])
})

test('the payload is a view of what was read, not a copy', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1, { payload: 'abc' }))
  const m = await worker.next()
  m.payload[0] = 0x78
  assert.equal(m.text(), 'xbc')
})

test('a large message is joined, and the small one behind it is not lost', async (t) => {
  const { worker, peer } = await connected(t)
  const payload = Buffer.alloc(3_000_000, '0123456789abcdef')
  peer.send(deliver(1, { payload }), deliver(2))
  assert.ok((await worker.next()).payload.equals(payload))
  assert.equal((await worker.next()).id, '0000000000000002')
})

test('nextWithin is undefined when nothing comes in time, and takes what comes', async (t) => {
  const { worker, peer } = await connected(t)
  assert.equal(await worker.nextWithin(0.001), undefined)
  const waiting = worker.nextWithin(60)
  peer.send(deliver(1))
  assert.equal((await waiting).id, '0000000000000001')
  const last = worker.nextWithin(60)
  peer.send('drain')
  assert.equal(await last, null)
})

/* ---- writing ---- */

test('answers are written together, before the program waits', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1), deliver(2), deliver(3))
  const written = []
  const { output } = worker._connection
  t.mock.method(output, '_write', (bytes) => written.push(Buffer.from(bytes)) > 0)
  for (let i = 0; i < 3; i++) (await worker.next()).ack()
  assert.equal(written.length, 0)
  await turn()
  assert.deepEqual(written, [acks(1, 2, 3)])
})

test('answers do not wait for a handler that awaits something else', async (t) => {
  const { worker, peer } = await connected(t)
  const { open, closed } = gate()
  const end = running(worker, (m) => (m.text() === 'slow' ? closed : undefined))
  peer.send(deliver(1), deliver(2, { payload: 'slow' }))
  await peer.expect(tagged('ack', 1))
  open()
  peer.send('drain')
  await end
  await peer.expectEnd(tagged('ack', 2), 'bye')
})

test('answers go out before a message that may have been delivered before', async (t) => {
  for (const suspect of [{ attempt: 2 }, { flags: 1 }]) {
    const { worker, peer } = await connected(t)
    peer.send(deliver(1), deliver(2, suspect))
    const written = []
    ;(await worker.next()).ack()
    t.mock.method(worker._connection.output, '_write', (bytes) => written.push(bytes) > 0)
    await worker.next()
    assert.equal(written.length, 1)
  }
})

test('answers that are a millisecond old go out before the next message begins', async (t) => {
  const { worker, peer } = await connected(t)
  const written = []
  let now = 0
  t.mock.method(performance, 'now', () => now)
  t.mock.method(worker._connection.output, '_write', (bytes) => written.push(bytes) > 0)
  peer.send(deliver(1), deliver(2))
  ;(await worker.next()).ack()
  now += 1
  await worker.next()
  assert.equal(written.length, 1)
})

test('the answer of a handler that waited goes out before the next message begins', async (t) => {
  const { worker, peer } = await connected(t)
  t.mock.method(performance, 'now', () => 0)
  const happened = []
  t.mock.method(worker._connection.output, '_write', () => happened.push('written') > 0)
  const end = running(worker, async (m) => {
    happened.push(Number(m.id))
    await turn()
    if (m.text() === 'last') worker.stop()
  })
  peer.send(deliver(1), deliver(2), deliver(3, { payload: 'last' }))
  while (happened.length < 5) await turn()
  assert.deepEqual(happened.slice(0, 5), [1, 'written', 2, 'written', 3])
  t.mock.restoreAll()
  await end
})

test('64 KiB of answers go out at once', async (t) => {
  const { worker, peer } = await connected(t)
  const count = 120
  for (let tag = 1; tag <= count; tag++) peer.send(deliver(tag))
  const written = []
  const messages = []
  while (messages.length < count) messages.push(await worker.next())
  t.mock.method(worker._connection.output, '_write', (bytes) => written.push(bytes.length) > 0)
  for (const m of messages) m.dead('x'.repeat(1024))
  assert.ok(written.length >= 1 && written[0] > 63 << 10 && written[0] <= 64 << 10)
})

test('a message has one answer', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1))
  const message = await worker.next()
  message.release()
  for (const verb of ['ack', 'retry', 'release', 'dead']) assert.throws(() => message[verb](), sdk.AlreadyAnswered)
  assert.throws(() => message.progress(0.5), sdk.AlreadyAnswered)
})

test('what the gateway would refuse is not sent', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(7))
  const m = await worker.next()
  const wrong = [
    () => m.progress(1.1), () => m.extend(0), () => m.retry({ delay: -1 }), () => m.retry({ delay: NaN }), () => m.ack(Buffer.alloc(65537)),
    () => m.ack(Symbol('s')), () => m.ack('x', { contentType: 'a\0' }), () => m.publish('a/+'), () => m.publish('t', '', { headers: { '': 1 } }),
    () => m.ack('x', { publish: [{ topic: 'good' }, { topic: '#' }] }),
  ]
  for (const call of wrong) assert.throws(call, (e) => e instanceof RangeError || e instanceof TypeError)
  for (const topic of ['', 'a/+', '#', 'a\0', undefined]) await assert.rejects(worker.publish(topic), RangeError)
  await assert.rejects(worker.publish('a', Buffer.alloc((1 << 20) + 1)), RangeError)
  m.ack()
  await peer.expect(tagged('ack', 7))
})

test('what is tied to a message is sent with its ack, and never without', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(7), deliver(8))
  const [first, second] = [await worker.next(), await worker.next()]
  second.publish('gone', 'x', { confirm: false })
  second.retry()
  first.publish('alerts/t', { t: 91 }, { retain: true, confirm: false, headers: [['priority', 9], ['site', 'a'], ['site', 'b']] })
  worker.flush()
  await peer.expect(tagged('retry', 8))
  first.ack('21.5')
  await peer.expect('publish-full', 'ack-text')
})

test('a refused publish of an ack is told, counted, and no unhandled rejection', async (t) => {
  const { worker, peer } = await connected(t)
  const told = quiet(t)
  peer.send(deliver(7))
  const m = await worker.next()
  const refused = m.ack(undefined, { publish: [{ topic: 'a' }, { topic: 'b' }, { topic: 'c' }] })
  const stored = (ref) => {
    const frame = Buffer.from(FRAMES.get('published'))
    frame.writeUInt32LE(ref, 5)
    return frame
  }
  peer.send(stored(1), stored(2), 'published-refused')
  const [only, ...others] = await refused
  assert.deepEqual([only.topic, only.code, others.length, worker.refusedPublishes, told.mock.callCount()], ['c', 1, 0, 1, 1])
  assert.equal(worker.unheardPublishes, 0)
})

test('a publish that nobody takes is no error: false, and counted behind an ack', async (t) => {
  const { worker, peer } = await connected(t)
  const nobody = (ref) => {
    const frame = Buffer.from(FRAMES.get('published-nobody'))
    frame.writeUInt32LE(ref, 5)
    return frame
  }
  peer.send(deliver(7))
  const alone = worker.publish('a')
  peer.send(nobody(1))
  assert.equal(await alone, false)
  const m = await worker.next()
  const refused = m.ack(undefined, { publish: [{ topic: 'b' }] })
  peer.send(nobody(2))
  assert.deepEqual([await refused, worker.unheardPublishes, worker.refusedPublishes], [[], 1, 0])
})

test('after the end nothing can be published', async (t) => {
  const { worker } = await connected(t)
  await worker.close()
  await assert.rejects(worker.publish('a'), sdk.GatewayGone)
})

test('a publish whose answer cannot come any more is rejected', async (t) => {
  const { worker, peer } = await connected(t)
  const outcome = worker.publish('a')
  await peer.take(25)
  peer.socket.destroy()
  await assert.rejects(outcome, sdk.GatewayGone)
})

test('a gateway that does not read is given nothing more, and everything when it reads again', async (t) => {
  const { worker, peer } = await connected(t)
  const total = 64
  let begun = 0
  const result = Buffer.alloc(60_000)
  peer.socket.pause()
  for (let tag = 1; tag <= total; tag++) peer.send(deliver(tag))
  peer.send('drain')
  const end = running(worker, () => (begun++, result))
  while (!worker._connection?.output.blocked) await turn()
  const before = begun
  for (let i = 0; i < 50; i++) await turn()
  assert.ok(begun === before && before < total)
  assert.ok(worker._connection._socket.writableLength < 512 << 10)
  peer.socket.resume()
  await end
  assert.equal(begun, total)
  await peer.take(total * (15 + result.length))
  await peer.expectEnd('bye')
})

/* ---- handlers ---- */

async function outcome(t, handle) {
  const { worker, peer } = await connected(t)
  peer.send(deliver(7), 'drain')
  await running(worker, handle)
  return peer
}

test('a result is sent', async (t) => (await outcome(t, async () => ({ ok: true }))).expectEnd('ack-json', 'bye'))

test('Retry can be thrown', async (t) => {
  const peer = await outcome(t, async () => { throw new sdk.Retry('the database is away', { delay: 5 }) })
  await peer.expectEnd('retry-later', 'bye')
})

test('a Retry that cannot be sent is a failed attempt of its own', async (t) => {
  quiet(t)
  const peer = await outcome(t, () => { throw new sdk.Retry('later', { delay: NaN }) })
  await peer.expectEnd(reasonFrame('retry', 7, 'RangeError: a delay is a number of seconds, and not negative'), 'bye')
})

test('Release can be thrown, also by a function that is not async', async (t) => {
  const peer = await outcome(t, () => { throw new sdk.Release() })
  await peer.expectEnd('release', 'bye')
})

test('Dead can be thrown', async (t) => {
  const peer = await outcome(t, async () => { throw new sdk.Dead('no number in it: ü') })
  await peer.expectEnd('dead', 'bye')
})

test('an exception is a failed attempt with its message, and goes to stderr', async (t) => {
  const told = quiet(t)
  const peer = await outcome(t, async (m) => m.json().unit.length)
  const text = "TypeError: Cannot read properties of undefined (reading 'length')"
  await peer.expectEnd(reasonFrame('retry', 7, text), 'bye')
  assert.equal(told.mock.callCount(), 1)
})

test('anything can be thrown', async (t) => {
  quiet(t)
  const peer = await outcome(t, () => { throw undefined })
  await peer.expectEnd(reasonFrame('retry', 7, 'undefined'), 'bye')
})

test('a result that is too large is a failed attempt', async (t) => {
  quiet(t)
  const peer = await outcome(t, async () => Buffer.alloc(65537))
  await peer.expectEnd(reasonFrame('retry', 7, 'RangeError: the result is larger than max_result (65536)'), 'bye')
})

test("a handler's own answer is left alone, also when it throws afterwards", async (t) => {
  await (await outcome(t, (m) => m.release())).expectEnd('release', 'bye')
  await (await outcome(t, (m) => { m.release(); throw new Error('late') })).expectEnd('release', 'bye')
})

test('the soft limit is thrown by what listens to the signal', async (t) => {
  quiet(t)
  const { worker, peer } = await connected(t)
  const end = running(worker, async (m) => {
    peer.send('soft-limit', 'drain')
    await pause(1e6, undefined, { signal: m.signal })
  })
  peer.send(deliver(7))
  await end
  await peer.expectEnd(reasonFrame('retry', 7, 'SoftTimeLimit: the soft time limit has passed'), 'bye')
})

test('as many handlers run at once as the pool says, begun in order', async (t) => {
  const { worker, peer } = await connected(t, {}, welcome({ concurrency: 3 }))
  const begun = []
  const gates = new Map()
  const full = gate()
  const end = running(worker, (m) => {
    begun.push(Number(m.id))
    gates.set(Number(m.id), gate())
    if (begun.length >= 3) full.open()
    return gates.get(Number(m.id)).closed
  })
  for (let tag = 1; tag <= 5; tag++) peer.send(deliver(tag))
  await full.closed
  await turn()
  assert.deepEqual(begun, [1, 2, 3])
  gates.get(2).open()
  await peer.expect(tagged('ack', 2))
  assert.deepEqual(begun, [1, 2, 3, 4])
  worker.stop()
  for (const one of [4, 1, 3]) gates.get(one).open()
  await end
  await peer.expectEnd(acks(4, 1, 3), 'bye')
})

/* ---- batches ---- */

test('a batch ends when max are there', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1), deliver(2), deliver(3))
  const batch = await worker.nextBatch(2, 60)
  assert.deepEqual([...batch].map((m) => m.id), ['0000000000000001', '0000000000000002'])
  batch.messages[0].release()
  batch.ack()
  await peer.expect(tagged('release', 1), acks(2))
})

test('a batch ends when its time is over', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1))
  assert.equal((await worker.nextBatch(9, 0.001)).length, 1)
})

test('in a pool without batches a pause of 10 ms ends a batch', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1), deliver(2))
  assert.equal((await worker.nextBatch(9, 3600)).length, 2)
})

/* The second message comes after more than the pause that ends other batches. */
async function gathered(worker, peer) {
  peer.send(deliver(1))
  const batch = worker.nextBatch(2, 3600)
  await pause(50)
  peer.send(deliver(2))
  return (await batch).length
}

test('a worker that gathers waits as long as it may, and no longer than the gateway gives', async (t) => {
  const { worker, peer } = await connected(t, { gathers: true }, welcome({ prefetch: 2 }), 'hello-gathers')
  assert.equal(await gathered(worker, peer), 2)
  peer.send(deliver(3), deliver(4))
  assert.equal((await worker.nextBatch(100, 3600)).length, 2)
})

test('nextBatch with a wait says HELLO as one that gathers, a batch handler does, and nobody who shall not', async (t) => {
  const begin = {
    'hello-gathers': [(worker) => worker.nextBatch(2, 1), (worker) => worker.run({ exit: false }, worker.batchHandler(() => {}))],
    'hello-plain': [(worker) => worker.nextBatch(2, 0), (worker) => worker.run({ exit: false }, worker.handler(() => {})),
      (worker) => worker.run({ exit: false }, worker.batchHandler(() => {}, { wait: 0 }))],
  }
  const join = async (hello, how, options) => {
    const gateway = await Gateway.open(t)
    const worker = new sdk.Worker({ workerSocket: gateway.path, name: 'demo', softLimit: false, signals: false, reconnect: false, ...options })
    const end = how(worker)
    const peer = (await gateway.accept()).send('welcome', 'drain')
    await peer.expectEnd(hello, 'bye')
    await end
  }
  for (const [hello, each] of Object.entries(begin)) {
    for (const how of each) await join(hello, how)
  }
  await join('hello-plain', begin['hello-gathers'][0], { gathers: false })
})

test('behind a last attempt nothing is waited for', async (t) => {
  const { worker, peer } = await connected(t)
  t.mock.method(performance, 'now', () => 0)
  peer.send(deliver(1, { attempt: 5, flags: 2 }))
  assert.equal((await worker.nextBatch(9, 3600)).length, 1)
})

test('a batch is never waited for beyond what the gateway gives at once', async (t) => {
  const { worker, peer } = await connected(t, {}, welcome({ prefetch: 2 }))
  peer.send(deliver(1), deliver(2))
  assert.equal((await worker.nextBatch(100, 3600)).length, 2)
})

test('a drain ends the waiting for more', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1), 'drain')
  const batch = await worker.nextBatch(9, 3600)
  batch.dead('all of them')
  assert.equal(await worker.nextBatch(9, 3600), null)
  await peer.expectEnd(reasonFrame('dead', 1, 'all of them'), 'bye')
})

test('in a pool with batches the batch is what the gateway says', async (t) => {
  const { worker, peer } = await connected(t, {}, 'welcome-batches')
  peer.send(deliver(1, { flags: 4 }), deliver(2), deliver(3, { flags: 4 }))
  assert.equal((await worker.nextBatch(100, 3600)).length, 2)
  const second = worker.nextBatch(100, 3600)
  peer.send(deliver(4))
  assert.equal((await second).length, 2)
})

test('two that collect do not tear a batch apart', async (t) => {
  const { worker, peer } = await connected(t, {}, 'welcome-batches')
  const both = [worker.nextBatch(100, 3600), worker.nextBatch(100, 3600)]
  peer.send(deliver(1, { flags: 4 }), deliver(2, { flags: 4 }), deliver(3), deliver(4))
  assert.deepEqual((await Promise.all(both)).map((batch) => batch.length), [3, 1])
})

test('a batch handler acks all that it left unanswered, in one frame', async (t) => {
  const { worker, peer } = await connected(t)
  peer.send(deliver(1), deliver(2), deliver(3), 'drain')
  worker.batchHandler(async (batch) => batch.messages[1].dead('x'), { max: 3, wait: 3600 })
  await worker.run({ exit: false })
  await peer.expectEnd(reasonFrame('dead', 2, 'x'), acks(1, 3), 'bye')
})

test('a batch handler that throws answers all that it left unanswered', async (t) => {
  quiet(t)
  const { worker, peer } = await connected(t)
  peer.send(deliver(1), deliver(2), 'drain')
  worker.batchHandler((batch) => {
    batch.messages[0].ack()
    throw new Error('the disk is full')
  }, { max: 2, wait: 3600 })
  await worker.run({ exit: false })
  await peer.expectEnd(tagged('ack', 1), reasonFrame('retry', 2, 'Error: the disk is full'), 'bye')
})

/* ---- external workers ---- */

test('a lost connection is made again, and answers to the old one are not sent to the new one', async (t) => {
  quiet(t)
  const { gateway, worker, peer } = await connected(t, { reconnect: true })
  const seen = []
  const begun = gate()
  const end = running(worker, async (m) => {
    seen.push(m.id)
    begun.open()
    if (seen.length === 1) await once(m.signal, 'abort')
  })
  peer.send(deliver(1), deliver(2))
  await begun.closed
  peer.socket.destroy()
  const again = (await gateway.accept()).send('welcome', deliver(3))
  await again.expect('hello-plain', tagged('ack', 3))
  worker.stop()
  await end
  await again.expectEnd('bye')
  assert.deepEqual([seen, worker.staleAnswers], [['0000000000000001', '0000000000000003'], 1])
})

test('a drained connection is made again after a pause: the gateway may only have been restarted', async (t) => {
  quiet(t)
  const { gateway, worker, peer } = await connected(t, { reconnect: true })
  const pauses = t.mock.method(worker, '_pause', async () => {})
  const end = running(worker, () => {})
  peer.send(deliver(1), 'drain')
  await peer.expectEnd(tagged('ack', 1), 'bye')
  const again = (await gateway.accept()).send(welcome({ concurrency: 2 }), deliver(2))
  await again.expect('hello-plain', tagged('ack', 2))
  worker.stop()
  await end
  assert.equal(pauses.mock.callCount(), 1)
})

test('a gateway that is not there yet is waited for, with one line on stderr', async (t) => {
  const told = quiet(t)
  const gateway = await Gateway.open(t)
  await gateway.stopListening()
  const worker = new sdk.Worker({ workerSocket: gateway.path, name: 'demo', softLimit: false, signals: false })
  t.after(() => worker.close())
  t.mock.method(worker, '_pause', async () => { if (worker._pause.mock.callCount() === 2) await gateway.listen() })
  const connecting = worker.connect()
  ;(await gateway.accept()).send('welcome')
  await connecting
  assert.equal(worker.pool, 'ingest')
  assert.match(told.mock.calls[0].arguments[0], /^sluice worker: the gateway does not answer \(ENOENT\); trying again$/)
  assert.equal(told.mock.callCount(), 1)
})

test('a token that is wrong is not tried again', async (t) => {
  const gateway = await Gateway.open(t)
  const worker = new sdk.Worker({ workerSocket: gateway.path, token: 'wrong', signals: false })
  const connecting = worker.connect()
  ;(await gateway.accept()).send('error-denied')
  await assert.rejects(connecting, (error) => error instanceof sdk.Refused && error.code === 5)
})

test('a token that cannot be sent is told before anything is opened', async (t) => {
  const gateway = await Gateway.open(t)
  const worker = new sdk.Worker({ workerSocket: gateway.path, token: 'a\0b', signals: false })
  await assert.rejects(worker.connect(), RangeError)
})

test('stop ends the waiting for a gateway that is not there', async (t) => {
  quiet(t)
  const worker = new sdk.Worker({ workerSocket: '/nonexistent/worker.sock', signals: false })
  const end = running(worker, () => {})
  await turn()
  worker.stop()
  await end
})

test('waits between two attempts double up to five seconds, and are spread', async () => {
  const { Backoff } = await import('../../workers/node/open.js')
  const longest = new Backoff(() => 1)
  const shortest = new Backoff(() => 0)
  const waits = Array.from({ length: 9 }, () => [shortest.next(), longest.next()])
  assert.deepEqual(waits[0], [50, 100])
  assert.deepEqual(waits[3], [400, 800])
  assert.deepEqual(waits[8], [2500, 5000])
})

test('socket and token come from the environment, and SLUICE_FD before them', async () => {
  const { whereOf } = await import('../../workers/node/open.js')
  assert.deepEqual(whereOf({}, { SLUICE_SOCKET: '/s', SLUICE_TOKEN: 't' }), { path: '/s', token: 't' })
  assert.deepEqual(whereOf({}, { SLUICE_SOCKET: '/s', SLUICE_FD: '5' }), { fd: 5 })
  assert.deepEqual(whereOf({ workerSocket: '/o' }, { SLUICE_FD: '5' }), { path: '/o', token: undefined })
  assert.throws(() => whereOf({}, {}), sdk.NoGateway)
})
