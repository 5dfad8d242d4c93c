/* A gateway for tests in Node.js: a Unix socket in the same process, and the recorded frames. Nothing here waits for
 * luck: everything waits for bytes or for an end. */

import assert from 'node:assert/strict'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { once } from 'node:events'

const HERE = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname)

/** Rows of a file of recorded frames: [{ name, who, bytes, text }]. */
export function rowsOf(file) {
  const lines = fs.readFileSync(path.join(HERE, file), 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return lines.map((line) => {
    const [name, who, hex, ...text] = line.split(' | ')
    return { name, who, bytes: Buffer.from(hex, 'hex'), text: text.join(' | ') }
  })
}

export const FRAMES = new Map(rowsOf('frames.txt').map((row) => [row.name, row.bytes]))

export function bytesOf(frames) {
  return Buffer.concat(frames.map((frame) => (typeof frame === 'string' ? FRAMES.get(frame) : frame)))
}

/** The DELIVER of a bare message. flags: 1 redelivered, 2 last attempt, 4 more of its batch follow. */
export function deliver(tag, { attempt = 1, flags = 0, payload = '21.5' } = {}) {
  const body = Buffer.from(payload)
  const frame = Buffer.concat([FRAMES.get('deliver-bare'), body])
  frame.writeUInt32LE(frame.length - 4, 0)
  frame.writeBigUInt64LE(BigInt(tag), 5)
  frame.writeUInt32LE(attempt, 13)
  frame[21] = flags
  frame.writeBigUInt64LE(BigInt(tag), 22 + 8)
  frame.writeUInt32LE(body.length, 22 + 60)
  return frame
}

/** A recorded frame whose body begins with a tag, with another tag. */
export function tagged(name, tag) {
  const frame = Buffer.from(FRAMES.get(name))
  frame.writeBigUInt64LE(BigInt(tag), 5)
  return frame
}

export function acks(...tags) {
  const frame = Buffer.alloc(5 + 8 * tags.length)
  frame.writeUInt32LE(1 + 8 * tags.length, 0)
  frame[4] = 0x0a
  tags.forEach((tag, i) => frame.writeBigUInt64LE(BigInt(tag), 5 + 8 * i))
  return frame
}

/** A recorded WELCOME with other numbers in it. */
export function welcome({ name = 'welcome', concurrency, prefetch }) {
  const frame = Buffer.from(FRAMES.get(name))
  if (prefetch !== undefined) frame.writeUInt32LE(prefetch, 9)
  if (concurrency !== undefined) frame.writeUInt32LE(concurrency, 13)
  return frame
}

/** The gateway's end of one connection. */
export class Peer {
  constructor(socket) {
    this.socket = socket
    this.received = Buffer.alloc(0)
    this.ended = false
    this._changed = () => {}
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk])
      this._changed()
    })
    socket.on('close', () => {
      this.ended = true
      this._changed()
    })
  }

  send(...frames) {
    this.socket.write(bytesOf(frames))
    return this
  }

  /** Waits for so many bytes, compares, and forgets them. */
  async expect(...frames) {
    const wanted = bytesOf(frames)
    const have = await this.take(wanted.length)
    assert.equal(have.toString('hex'), wanted.toString('hex'))
  }

  async take(n) {
    while (this.received.length < n && !this.ended) await this._change()
    const have = this.received.subarray(0, n)
    this.received = this.received.subarray(n)
    return have
  }

  /** Waits for the end, which is to come without further bytes. */
  async expectEnd(...frames) {
    while (!this.ended) await this._change()
    assert.equal(this.received.toString('hex'), bytesOf(frames).toString('hex'))
  }

  _change() {
    return new Promise((resolve) => {
      this._changed = resolve
    })
  }
}

/** Listens in a folder of its own, which `after` (of a test) removes. */
export class Gateway {
  static async open(t) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-node-'))
    const gateway = new Gateway(folder)
    t.after(() => gateway.close())
    await gateway.listen()
    return gateway
  }

  constructor(folder) {
    this.folder = folder
    this.path = path.join(folder, 'worker.sock')
    this._came = []
    this._wanted = []
    this._sockets = new Set()
  }

  async listen() {
    this.server = net.createServer((socket) => {
      this._sockets.add(socket)
      const peer = new Peer(socket)
      const wanted = this._wanted.shift()
      if (wanted) wanted(peer)
      else this._came.push(peer)
    })
    this.server.listen(this.path)
    await once(this.server, 'listening')
  }

  /** The next connection's end. */
  accept() {
    const peer = this._came.shift()
    return peer ? Promise.resolve(peer) : new Promise((resolve) => this._wanted.push(resolve))
  }

  stopListening() {
    return new Promise((resolve) => {
      this.server.close(resolve)
      for (const socket of this._sockets) socket.destroy()
    })
  }

  close() {
    for (const socket of this._sockets) socket.destroy()
    this.server.close()
    fs.rmSync(this.folder, { recursive: true, force: true })
  }
}
