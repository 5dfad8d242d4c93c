import { Batch } from './batch.js'
import { Connection } from './connection.js'
import { GatewayGone, WorkerError } from './errors.js'
import { WELCOME_BATCHES, WELCOME_EXTERNAL, hello } from './frames.js'
import { batchLane, messageLane, runLanes } from './handlers.js'
import { Backoff, openSocket, passes, whereOf } from './open.js'

const BATCH_MAX = 100
const BATCH_WAIT = 1
/* A pool without batches gives no more than 100 ms of work as it measures it, and waiting counts as work: who waited
 * long for more, and has not said so in HELLO, would be given less each time. */
const BATCH_PAUSE_MS = 10
/* A connection that lasted so long was a good one: the next is tried soon again. */
const GOOD_CONNECTION_MS = 10_000
const DEFAULTS = { name: 'node', prefetch: 0, softLimit: true, signals: true, reconnect: true }

function turnOfTheLoop() {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The connection to the gateway. `worker` of this package is the one that most programs want. */
export class Worker {
  constructor(options = {}) {
    this._options = { ...DEFAULTS, ...options }
    this._where = null
    this._connection = null
    this._connecting = null
    this._backoff = new Backoff()
    this._endPause = () => {}
    this._waiters = []
    this._collecting = Promise.resolve()
    this._lane = null
    this._lanes = 0
    this._wanted = 1
    this._grow = () => {}
    this._waitsForMore = false
    this._stopping = false
    this._signals = []
    this._onSignal = () => this.stop()
    this._onExit = () => this.flush()
    /** Answers that came too late: somebody else had the message, or its connection was lost. */
    this.staleAnswers = 0
    /** Publishes tied to an ack that the gateway did not take. */
    this.refusedPublishes = 0
    /** Publishes tied to an ack that nobody takes: no queue, no subscriber. */
    this.unheardPublishes = 0
  }

  /* ---- what the gateway said ---- */

  get queue() {
    return this._welcome.queue
  }

  get pool() {
    return this._welcome.pool
  }

  get node() {
    return this._welcome.node
  }

  get prefetch() {
    return this._welcome.prefetch
  }

  /** How many handlers run at once. */
  get concurrency() {
    return Math.max(1, this._welcome.concurrency)
  }

  /** Seconds; 0: none. */
  get timeLimit() {
    return this._welcome.timeLimit
  }

  get softTimeLimit() {
    return this._welcome.softTimeLimit
  }

  get maxMessage() {
    return this._welcome.maxMessage
  }

  get maxResult() {
    return this._welcome.maxResult
  }

  /** The pool delivers in batches. */
  get batches() {
    return (this._welcome.flags & WELCOME_BATCHES) !== 0
  }

  /** This process is not the gateway's own: nobody kills it at its time limit. */
  get external() {
    return (this._welcome.flags & WELCOME_EXTERNAL) !== 0
  }

  /** Nothing more will come. */
  get drained() {
    return this._stopping || (this._connection?.leaving ?? false)
  }

  get _welcome() {
    const welcome = this._connection?.welcome
    if (!welcome) throw new WorkerError('not connected yet: await worker.connect()')
    return welcome
  }

  /* ---- handler style ---- */

  /** What the function returns or resolves to is the result; what it throws is the answer. */
  handler(handle) {
    this._lane = () => messageLane(this, handle)
    return handle
  }

  /** The function takes a Batch; the messages that it leaves unanswered are acked when it has returned. */
  batchHandler(handle, { max = BATCH_MAX, wait = BATCH_WAIT } = {}) {
    this._lane = () => batchLane(this, handle, max, wait)
    this._waitsForMore ||= wait > 0
    return handle
  }

  /**
   * Hands out messages until the gateway drains or SIGTERM comes. When the connection fails for good it says so on
   * stderr and ends the process; with exit: false it rejects instead.
   */
  async run({ exit = true } = {}) {
    if (this._lane === null) throw new WorkerError('no handler: call worker.handler(async (message) => { ... })')
    try {
      await this.connect()
      await runLanes(this, this._lane)
      await this._connection?.closed
    } catch (error) {
      if (!exit || !(error instanceof WorkerError)) throw error
      console.error(`sluice worker: ${error.message}`)
      process.exit(error.exitCode)
    }
  }

  /* A lane ends between two messages when a new connection wants fewer of them. */
  _mayGoOn() {
    return this._lanes <= this._wanted
  }

  /* ---- loop style ---- */

  /** The messages, until the gateway drains or SIGTERM comes. */
  async *messages() {
    for (;;) {
      const message = this._take() ?? (await this.next())
      if (message === null) return
      yield message
    }
  }

  /** The next message; null: the gateway drains, or SIGTERM came. */
  async next() {
    for (;;) {
      const message = this._take()
      if (message !== undefined) return message
      if (!(await this._more())) return null
    }
  }

  /** The same, but undefined when none came within so many seconds. */
  async nextWithin(seconds) {
    const until = performance.now() + seconds * 1000
    for (;;) {
      const message = this._take()
      if (message !== undefined) return message
      const left = until - performance.now()
      if (left <= 0 && this._connection?.dry === false) return undefined
      if (!(await this._more(left))) return null
    }
  }

  /**
   * Waits for a message, then until `max` are there, `wait` seconds are over, or the pool's batch is complete. In a
   * pool without batches a worker that does not gather waits 10 ms at most for each. Never empty; null as with next.
   */
  nextBatch(max = BATCH_MAX, wait = BATCH_WAIT) {
    const mine = this._collecting.then(() => this._collect(max, wait))
    this._collecting = mine.catch(() => {})
    return mine
  }

  async _collect(max, wait) {
    this._waitsForMore ||= wait > 0
    for (;;) {
      const first = this._take() ?? (await this.next())
      if (first === null) return null
      const messages = await this._gather(first, max, performance.now() + wait * 1000)
      if (!first._connection.lost) return new Batch(messages)
    }
  }

  /* Behind a batch's last one, and behind a last attempt, which is delivered alone, nothing comes before the answer. */
  _mayFollow(message) {
    return this.batches ? message._more : !message.lastAttempt || message.attempt === 1
  }

  /* Waiting for more than may be under way would only pass the time. */
  async _gather(first, max, until) {
    const connection = first._connection
    const most = Math.min(max, connection.welcome.prefetch || max)
    const pause = this.batches || connection.gathers ? Infinity : BATCH_PAUSE_MS
    const messages = [first]
    let quiet = performance.now() + pause
    while (messages.length < most && this._mayFollow(messages.at(-1))) {
      const message = connection.take()
      const now = performance.now()
      if (message !== undefined) {
        messages.push(message)
        quiet = now + pause
      } else if (connection.dry || now >= Math.min(until, quiet)) break
      else await this._wait(Math.min(until, quiet) - now)
    }
    return messages
  }

  /* ---- verbs of a worker ---- */

  /** Says HELLO and waits for WELCOME; called by everything that needs it. */
  connect() {
    if (this._connection?.welcome && !this._connection.lost) return this._connection.opened
    this._connecting ??= this._connect().finally(() => {
      this._connecting = null
    })
    return this._connecting
  }

  /**
   * Resolves when the gateway has stored it: true; false: nobody takes that topic. Options: contentType, headers
   * (object or pairs), retain, confirm.
   */
  async publish(topic, payload, options = {}) {
    await this.connect()
    if (this._connection === null || this._connection.lost) throw new GatewayGone('the connection is closed')
    return this._connection.publish({ ...options, topic, payload })
  }

  /** Writes the answers that were gathered. */
  flush() {
    this._connection?.output.flush()
  }

  /** No further message: what has begun is finished, the rest goes back uncharged. SIGTERM calls it. */
  stop() {
    this._stopping = true
    this._endPause()
    this._connection?.giveBack()
    this._wake(Infinity)
  }

  /** Writes what is gathered, says BYE (what has no answer goes back uncharged), closes. */
  async close() {
    this.stop()
    await this._connection?.close()
  }

  /* ---- taking and waiting ---- */

  _take() {
    return this._connection?.take()
  }

  /* Resolves when taking again may help, or `ms` are over; false: nothing more will come. */
  async _more(ms) {
    const connection = this._connection
    if (connection !== null && !connection.dry) {
      await this._wait(ms)
      return true
    }
    if (this._stopping) return false
    if (connection === null) await this.connect()
    else return this._comesBack(connection)
    return true
  }

  /* The connection has given all it had. */
  async _comesBack(connection) {
    if (connection.error !== null && !this._mayReconnect(connection.error)) throw this._forGood(connection.error)
    if (!this._reconnects) return false
    await this.connect()
    return !this._stopping
  }

  async _wait(ms) {
    if (this._connection?.output.overdue) return turnOfTheLoop()
    return new Promise((resolve) => this._enqueue(resolve, ms))
  }

  _enqueue(resolve, ms) {
    if (ms === undefined) {
      this._waiters.push(resolve)
      return
    }
    const timer = setTimeout(() => {
      this._waiters.splice(this._waiters.indexOf(woken), 1)
      resolve()
    }, Math.max(0, ms))
    const woken = () => {
      clearTimeout(timer)
      resolve()
    }
    this._waiters.push(woken)
  }

  _wake(n) {
    for (; n > 0 && this._waiters.length > 0; n--) this._waiters.shift()()
  }

  /* ---- connecting ---- */

  get _reconnects() {
    return this._options.reconnect && this._where.path !== undefined && !this._stopping
  }

  _mayReconnect(error) {
    return this._reconnects && passes(error)
  }

  async _connect() {
    this._where ??= whereOf(this._options)
    if (this._connection !== null && this._where.fd !== undefined) throw this._connection.error ?? new GatewayGone('the connection is closed')
    if (this._stopping) return
    this._listenToSignals()
    if (this._connection !== null) await this._takeABreak(this._connection)
    for (let told = false; !this._stopping; told = true) {
      try {
        await this._open()
        return
      } catch (error) {
        if (this._stopping) return
        if (!this._mayReconnect(error)) throw this._forGood(error)
        if (!told) console.error(`sluice worker: ${error.message}; trying again`)
        await this._pause(this._backoff.next())
      }
    }
  }

  /* Between the end of a connection and the next: a gateway that only drains would be asked without end. */
  async _takeABreak({ closed, error, welcomedAt }) {
    await closed
    console.error(`sluice worker: ${error?.message ?? 'the gateway drains'}; connecting again`)
    if (performance.now() - welcomedAt >= GOOD_CONNECTION_MS) this._backoff.reset()
    await this._pause(this._backoff.next())
  }

  async _open() {
    const gathers = this._options.gathers ?? this._waitsForMore
    const greeting = hello({ ...this._options, gathers, token: this._where.token })
    const connection = new Connection(openSocket(this._where), greeting, (n) => this._wake(n), this)
    connection.gathers = gathers
    this._connection = connection
    connection.closed.then(() => this._closed())
    await connection.opened
    this._wanted = this.concurrency
    this._grow()
  }

  _forGood(error) {
    this._ignoreSignals()
    return error
  }

  _closed() {
    if (!this._reconnects) this._ignoreSignals()
  }

  _pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this._stopping ? 0 : ms)
      this._endPause = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /* A worker that somebody started at a terminal ends orderly by Ctrl-C, too. */
  _listenToSignals() {
    if (!this._options.signals || this._signals.length > 0) return
    this._signals = this._where.path === undefined ? ['SIGTERM'] : ['SIGTERM', 'SIGINT']
    for (const signal of this._signals) process.on(signal, this._onSignal)
    process.on('exit', this._onExit)
  }

  _ignoreSignals() {
    for (const signal of this._signals) process.off(signal, this._onSignal)
    process.off('exit', this._onExit)
    this._signals = []
  }
}
