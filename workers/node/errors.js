/* What can go wrong, and what a handler may throw to answer its message. */

const LONGEST_DELAY = Number.MAX_SAFE_INTEGER / 1000

/** Anything that ends the connection to the gateway. `exitCode` is what run() ends the process with. */
export class WorkerError extends Error {
  get name() {
    return 'WorkerError'
  }

  get exitCode() {
    return 1
  }
}

/** Neither has a gateway started this process, nor does it know a worker_socket. */
export class NoGateway extends WorkerError {
  get name() {
    return 'NoGateway'
  }

  get exitCode() {
    return 2
  }
}

/** The gateway has gone without saying DRAIN; `systemCode` is ECONNREFUSED and the like, where there is one. */
export class GatewayGone extends WorkerError {
  constructor(message, systemCode) {
    super(systemCode === undefined ? message : `${message} (${systemCode})`)
    this.systemCode = systemCode
  }

  get name() {
    return 'GatewayGone'
  }
}

/** The gateway sent what is no frame. */
export class ProtocolError extends WorkerError {
  get name() {
    return 'ProtocolError'
  }
}

/** The gateway said ERROR; `code` and `detail` are its own. */
export class Refused extends WorkerError {
  constructor(code, detail) {
    super(`the gateway refused this worker: ${detail}`)
    this.code = code
    this.detail = detail
  }

  get name() {
    return 'Refused'
  }
}

/** The gateway did not take a publish; `code` and `detail` are PUBLISHED's, `topic` is what it was meant for. */
export class PublishRefused extends Error {
  constructor(topic, code, detail) {
    super(`the publish to ${topic} was refused: ${detail || `code ${code}`}`)
    this.topic = topic
    this.code = code
    this.detail = detail
  }

  get name() {
    return 'PublishRefused'
  }
}

/** A message has one answer; this was a second one. */
export class AlreadyAnswered extends Error {
  constructor() {
    super('this message has had its answer')
  }

  get name() {
    return 'AlreadyAnswered'
  }
}

/** The reason of `message.signal` when the soft time limit has passed. */
export class SoftTimeLimit extends Error {
  constructor() {
    super('the soft time limit has passed')
  }

  get name() {
    return 'SoftTimeLimit'
  }
}

/** Seconds, or undefined. In a wrong one the handler that made it is at fault, not the loop that sends it. */
export function checkDelay(delay) {
  if (delay !== undefined && !(delay >= 0 && delay <= LONGEST_DELAY)) {
    throw new RangeError('a delay is a number of seconds, and not negative')
  }
}

/** Throw it: a failed attempt, again after `delay` seconds or after the queue's backoff. */
export class Retry extends Error {
  constructor(reason = '', { delay } = {}) {
    super(reason)
    checkDelay(delay)
    this.delay = delay
  }

  get name() {
    return 'Retry'
  }
}

/** Throw it: not my fault, to another worker, not counted. */
export class Release extends Error {
  get name() {
    return 'Release'
  }
}

/** Throw it: poison, to the dead letters at once. */
export class Dead extends Error {
  get name() {
    return 'Dead'
  }
}
