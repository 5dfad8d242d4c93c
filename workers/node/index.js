/* Write a worker for a pool of the sluice gateway (mode "socket", or by its worker_socket).
 *
 *     import { worker } from 'sluice-worker'
 *
 *     worker.handler(async (message) => {
 *       console.log(message.topic, message.json())
 *     })
 *     await worker.run()
 *
 * What the handler returns is the result (undefined: none) and the message is acked; what it throws is a failed
 * attempt. `throw new Retry('why', { delay: 5 })`, `new Release()` and `new Dead('why')` say more. Or as a loop,
 * answering yourself:
 *
 *     for await (const message of worker.messages()) message.ack()
 *
 * All durations are seconds. Start reading in worker.js. */

import { Worker } from './worker.js'

export { Batch } from './batch.js'
export {
  AlreadyAnswered, Dead, GatewayGone, NoGateway, ProtocolError, PublishRefused, Refused, Release, Retry, SoftTimeLimit,
  WorkerError,
} from './errors.js'
export { Message } from './message.js'
export { Worker }

export const worker = new Worker()
