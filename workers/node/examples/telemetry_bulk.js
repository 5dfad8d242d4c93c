/* Writes telemetry in bulk: a line of JSON for each message, one write for each batch, and an alert that is stored
 * together with the ack of the message that caused it.
 *
 * Run by a pool of sluice.json: "command": ["node", "workers/node/examples/telemetry_bulk.js", "telemetry.jsonl", "90"]. */

import { appendFile } from 'node:fs/promises'

import { worker } from '../index.js'

const [path = 'telemetry.jsonl', hot = '90'] = process.argv.slice(2)

function reading(message) {
  try {
    return { topic: message.topic, client: message.clientId, at: message.acceptedAt, value: message.json() }
  } catch {
    message.dead('the payload is no JSON')
    return undefined
  }
}

function alert(message, { topic, value }) {
  message.publish(`alerts/${topic}`, { topic, value }, { headers: { priority: 9 } })
}

worker.batchHandler(async (batch) => {
  const lines = []
  for (const message of batch) {
    const one = reading(message)
    if (one === undefined) continue
    lines.push(`${JSON.stringify(one)}\n`)
    if (one.value?.t > Number(hot)) alert(message, one)
  }
  await appendFile(path, lines.join(''))
}, { max: 500, wait: 0.5 })

await worker.run()
