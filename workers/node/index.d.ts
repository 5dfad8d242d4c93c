/** Bytes stay bytes, text becomes UTF-8, anything else JSON. */
export type Content = NodeJS.ArrayBufferView | ArrayBuffer | string | number | boolean | object | null

export type Headers = Record<string, unknown> | Iterable<readonly [name: string, value: unknown]>

export interface PublishOptions {
  /** Default: text/plain; charset=utf-8 for text, application/json for JSON, none for bytes. */
  contentType?: string
  /** priority, delay, expires, reply-to, ... as publishers write them, and headers of your own. */
  headers?: Headers
  retain?: boolean
  /** false: the gateway does not say what became of it. Default: true. */
  confirm?: boolean
}

export interface Publish extends PublishOptions {
  topic: string
  payload?: Content
}

export interface AckOptions {
  /** Of the result. */
  contentType?: string
  /** Stored together with the ack, or not at all. */
  publish?: Publish[]
}

export interface RetryOptions {
  /** Seconds; default: the queue's backoff. */
  delay?: number
  /** Cut to 1 KiB. */
  reason?: string
}

/** One delivery. Answer it once: ack, retry, release or dead. */
export class Message {
  private constructor()

  /** 16 hex digits, unique per gateway. */
  readonly id: string
  readonly topic: string
  readonly clientId: string
  readonly user: string
  readonly contentType: string
  readonly correlation: Buffer
  readonly replyTo: string
  readonly jobId: string
  readonly dedupId: string
  readonly queue: string
  /** Pairs in the publisher's order; names may repeat. */
  readonly headers: [name: string, value: string][]
  /** The bytes as they were sent: a view, not a copy. */
  readonly payload: Buffer
  readonly protocol: 'mqtt' | 'stomp' | 'http' | 'worker' | 'schedule' | 'unknown'
  readonly qos: number
  readonly priority: number
  readonly retain: boolean
  readonly acceptedAt: Date | null
  readonly deliverAt: Date | null
  readonly expiresAt: Date | null
  /** From 1. */
  readonly attempt: number
  /** 0: no limit. */
  readonly maxAttempts: number
  readonly redelivered: boolean
  readonly lastAttempt: boolean
  readonly answered: boolean
  /** It is no longer this worker's: an answer changes nothing and is only counted. */
  readonly stale: boolean
  /** Aborted with SoftTimeLimit at the soft time limit, with GatewayGone when the connection is lost. */
  readonly signal: AbortSignal

  /** The value of the first header of that name. */
  header(name: string): string | undefined
  /** The payload as text; default: UTF-8. */
  text(encoding?: BufferEncoding): string
  /** The payload as JSON. */
  json<T = any>(): T

  /**
   * Done. A result (not undefined or null) goes to replyTo. When something is published with it, resolves with the
   * publishes that were refused; those are also printed and counted in worker.refusedPublishes.
   */
  ack(result?: Content): Promise<PublishRefused[]> | undefined
  ack(result: Content | undefined, options: AckOptions): Promise<PublishRefused[]> | undefined
  /** A failed attempt: again later, or dead when it was the last one. */
  retry(options?: RetryOptions): void
  /** Not my fault: to another worker, not counted. */
  release(): void
  /** Poison: to the dead letters at once. The reason is cut to 1 KiB. */
  dead(reason?: string): void

  /** 0 to 1; written at once. */
  progress(done: number): void
  /** The time limit is this many seconds away from now on; written at once. */
  extend(seconds: number): void
  /** As worker.publish, but stored together with this message's ack, and only then. */
  publish(topic: string, payload?: Content, options?: PublishOptions): void
}

/** Messages that were taken together. The four answers are for those that have none yet. */
export class Batch implements Iterable<Message> {
  private constructor()

  readonly messages: Message[]
  readonly length: number
  readonly unanswered: Message[]
  [Symbol.iterator](): IterableIterator<Message>
  ack(): void
  retry(options?: RetryOptions): void
  release(): void
  dead(reason?: string): void
}

export interface WorkerOptions {
  /** Shown by `sluice pool`. Default: "node". */
  name?: string
  /** How many deliveries may wait here; 0 (default): as the pool is configured. */
  prefetch?: number
  /** Be told of soft time limits. Default: true. */
  softLimit?: boolean
  /** Tell the gateway that messages are waited for before any is answered. Default: with a batchHandler that waits,
   * or when such a nextBatch is what connects. */
  gathers?: boolean
  /** Stop at SIGTERM, and by worker_socket at SIGINT too. Default: true. */
  signals?: boolean
  /** The path of a pool's worker_socket. Default: the environment's SLUICE_SOCKET, when SLUICE_FD is not set. */
  workerSocket?: string
  /** The pool's token. Default: the environment's SLUICE_TOKEN. */
  token?: string
  /** By worker_socket: connect again when the connection is lost. Default: true. */
  reconnect?: boolean
  /** A connected stream socket. Default: the environment's SLUICE_FD. */
  fd?: number
}

export interface BatchOptions {
  /** Messages; default: 100. */
  max?: number
  /** Seconds after the first message; default: 1. */
  wait?: number
}

export class Worker {
  constructor(options?: WorkerOptions)

  /** What WELCOME said; they throw before the worker is connected. */
  readonly queue: string
  readonly pool: string
  readonly node: string
  readonly prefetch: number
  /** How many handlers run at once. */
  readonly concurrency: number
  /** Seconds; 0: none. */
  readonly timeLimit: number
  readonly softTimeLimit: number
  readonly maxMessage: number
  readonly maxResult: number
  /** The pool delivers in batches. */
  readonly batches: boolean
  /** This process is not the gateway's own: nobody kills it at its time limit. */
  readonly external: boolean

  /** Answers that came too late: somebody else had the message, or its connection was lost. */
  staleAnswers: number
  /** Publishes tied to an ack that the gateway did not take. */
  refusedPublishes: number
  /** Publishes tied to an ack that nobody takes: no queue, no subscriber. */
  unheardPublishes: number
  /** Nothing more will come. */
  readonly drained: boolean

  /** What the function returns or resolves to is the result; what it throws is the answer. */
  handler<H extends (message: Message) => unknown>(handle: H): H
  /** Messages that the function leaves unanswered are acked when it has returned, or answered as it throws. */
  batchHandler<H extends (batch: Batch) => unknown>(handle: H, options?: BatchOptions): H
  /**
   * Hands out messages until the gateway drains or SIGTERM comes. When the connection fails for good it says so on
   * stderr and ends the process with 1 (2: no gateway started it); with exit: false it rejects instead.
   */
  run(options?: { exit?: boolean }): Promise<void>

  /** The messages, until the gateway drains or SIGTERM comes. */
  messages(): AsyncGenerator<Message, void, void>
  /** The next message; null: the gateway drains, or SIGTERM came. */
  next(): Promise<Message | null>
  /** The same, but undefined when none came within so many seconds. */
  nextWithin(seconds: number): Promise<Message | null | undefined>
  /**
   * Waits for a message, then until `max` are there, `wait` seconds are over, or the pool's batch is complete. In a
   * pool without batches a worker that does not gather waits 10 ms at most for each.
   */
  nextBatch(max?: number, wait?: number): Promise<Batch | null>

  /** Says HELLO and waits for WELCOME; called by everything that needs it. */
  connect(): Promise<void>
  /** Resolves when the gateway has stored it: true; false: nobody takes that topic. Rejects with PublishRefused. */
  publish(topic: string, payload?: Content, options?: PublishOptions): Promise<boolean>
  /** Writes the answers that were gathered; they are written by themselves before anything waits. */
  flush(): void
  /** No further message: what has begun is finished, the rest goes back uncharged. */
  stop(): void
  /** Writes what is gathered, says BYE (what has no answer goes back uncharged), closes. */
  close(): Promise<void>
}

/** The worker that most programs want. */
export const worker: Worker

/** Anything that ends the connection to the gateway. */
export class WorkerError extends Error {
  /** What run() ends the process with. */
  readonly exitCode: number
}
/** Neither has a gateway started this process, nor does it know a worker_socket. */
export class NoGateway extends WorkerError {}
/** The gateway has gone without saying DRAIN. */
export class GatewayGone extends WorkerError {
  /** ECONNREFUSED and the like. */
  readonly systemCode?: string
}
/** The gateway sent what is no frame. */
export class ProtocolError extends WorkerError {}
/** The gateway said ERROR. */
export class Refused extends WorkerError {
  readonly code: number
  readonly detail: string
}
/** The gateway did not take a publish. */
export class PublishRefused extends Error {
  readonly topic: string
  readonly code: number
  readonly detail: string
}
/** A message has one answer; this was a second one. */
export class AlreadyAnswered extends Error {}
/** The reason of message.signal when the soft time limit has passed. */
export class SoftTimeLimit extends Error {}

/** Throw it: a failed attempt, again after `delay` seconds or after the queue's backoff. */
export class Retry extends Error {
  constructor(reason?: string, options?: { delay?: number })
  readonly delay?: number
}
/** Throw it: not my fault, to another worker, not counted. */
export class Release extends Error {}
/** Throw it: poison, to the dead letters at once. */
export class Dead extends Error {
  constructor(reason?: string)
}
