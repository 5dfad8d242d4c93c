/* Handler style: a lane takes a message, has it handled, answers it, takes the next. There are as many lanes as the
 * pool has concurrency; they take in the order of delivery. */

import { Dead, Release, Retry } from './errors.js'

/* An aborted timer or fetch may tell of its own AbortError; what matters is why it was aborted. */
function causeOf(error, signalled) {
  return error?.name === 'AbortError' && signalled !== null ? signalled : error
}

function reasonOf(error) {
  if (!(error instanceof Error)) return String(error)
  return error.message === '' ? error.name : `${error.name}: ${error.message}`
}

/* `target` is a message or a batch: both know the four answers. */
function answerFor(error, target, signalled) {
  if (error instanceof Retry) target.retry({ delay: error.delay, reason: error.message })
  else if (error instanceof Release) target.release()
  else if (error instanceof Dead) target.dead(error.message)
  else {
    console.error(error)
    target.retry({ reason: reasonOf(causeOf(error, signalled)) })
  }
}

function isPromise(value) {
  return typeof value?.then === 'function'
}

/** Hands messages to the function, one after another. */
export async function messageLane(worker, handle) {
  while (worker._mayGoOn()) {
    const message = worker._take() ?? (await worker.next())
    if (message === null) return
    try {
      const made = handle(message)
      const result = isPromise(made) ? await made : made
      if (!message.answered) message.ack(result)
    } catch (error) {
      if (!message.answered) answerFor(error, message, message._aborted)
    }
  }
}

/** Hands batches to the function; what it leaves unanswered is acked, or answered as it throws. */
export async function batchLane(worker, handle, max, wait) {
  while (worker._mayGoOn()) {
    const batch = await worker.nextBatch(max, wait)
    if (batch === null) return
    try {
      await handle(batch)
      batch.ack()
    } catch (error) {
      answerFor(error, batch, null)
    }
  }
}

/** Resolves when all lanes have ended. `grow` of the result makes as many as are wanted now. */
export function runLanes(worker, lane) {
  worker._lanes = 0
  return new Promise((resolve, reject) => {
    const end = () => {
      if (--worker._lanes === 0) resolve()
    }
    worker._grow = () => {
      for (; worker._lanes < worker._wanted; worker._lanes++) lane().then(end, reject)
    }
    worker._grow()
  })
}
