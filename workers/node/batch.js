/** Messages that were taken together. Answer them one by one, or all that have no answer yet at once. */
export class Batch {
  constructor(messages) {
    /** An Array. */
    this.messages = messages
  }

  get length() {
    return this.messages.length
  }

  [Symbol.iterator]() {
    return this.messages[Symbol.iterator]()
  }

  /** All that have no answer yet. */
  get unanswered() {
    return this.messages.filter((message) => !message.answered)
  }

  /** One frame for all of them that have nothing to publish. */
  ack() {
    for (const message of this.messages) {
      if (!message.answered) message._ackAsOneOfMany()
    }
  }

  retry(how) {
    for (const message of this.unanswered) message.retry(how)
  }

  release() {
    for (const message of this.unanswered) message.release()
  }

  dead(reason) {
    for (const message of this.unanswered) message.dead(reason)
  }
}
