// As count.py, for Node.js: plain or batch. BENCH_SDK is the SDK's index.js.
import { renameSync, writeFileSync } from 'node:fs'

const { worker } = await import(process.env.BENCH_SDK)
const messages = Number(process.env.BENCH_MESSAGES)
let left = messages
let bytes = 0
let begun
let cpu

function report () {
  const used = process.cpuUsage(cpu)
  const found = { seconds: (performance.now() - begun) / 1e3, cpu_seconds: (used.user + used.system) / 1e6 }
  writeFileSync(process.env.BENCH_REPORT + '.new', JSON.stringify(found))
  renameSync(process.env.BENCH_REPORT + '.new', process.env.BENCH_REPORT)
}

function see (message) {
  if (left === messages) {
    begun = performance.now()
    cpu = process.cpuUsage()
  }
  bytes += message.payload.length
  if (--left === 0) report()
}

if (process.argv[2] === 'batch') {
  worker.batchHandler((batch) => { for (const message of batch) see(message) }, { max: 100, wait: 1 })
} else {
  worker.handler(see)
}
await worker.run()
