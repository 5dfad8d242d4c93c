/* Prints one neat line per message: topic, client, payload, and the attempt from the second on.
 *
 * Run by a pool of sluice.json: "command": ["node", "workers/node/examples/print_telemetry.js"]. */

import { worker } from '../index.js'

const PAYLOAD_WIDTH = 100

function short(text) {
  const plain = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => JSON.stringify(c).slice(1, -1))
  return plain.length <= PAYLOAD_WIDTH ? plain : `${plain.slice(0, PAYLOAD_WIDTH - 1)}…`
}

/* A JSON object as k=v, anything else as the text it is. */
function readable(message) {
  try {
    const value = message.json()
    if (value === null || typeof value !== 'object') return short(String(value))
    return short(Object.entries(value).map(([key, item]) => `${key}=${item}`).join('  '))
  } catch {
    return short(message.text())
  }
}

worker.handler((message) => {
  const time = message.acceptedAt?.toTimeString().slice(0, 8) ?? '--:--:--'
  const again = message.attempt > 1 ? `  (attempt ${message.attempt})` : ''
  const client = short(message.clientId) || '-'
  console.log(`${time}  ${short(message.topic).padEnd(28)}  ${client.padEnd(16)}  ${readable(message)}${again}`)
})

await worker.run()
