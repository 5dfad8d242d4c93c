/* Where the gateway is, and how long to wait before it is asked again. */

import net from 'node:net'

import { GatewayGone, NoGateway, Refused } from './errors.js'

const FIRST_WAIT_MS = 100
const LONGEST_WAIT_MS = 5_000
/* A gateway that starts, or has no room in its line, is there later. */
const LATER = new Set(['ENOENT', 'ECONNREFUSED', 'EAGAIN', 'ECONNRESET', 'EPIPE'])
const CANNOT_STORE = 6
/* Writes below this do not wait for each other; over it nothing new is begun. */
const WRITE_AHEAD_BYTES = 256 << 10

/** From the program's options or the environment: { fd } or { path, token }. */
export function whereOf({ fd, workerSocket, token }, environment = process.env) {
  if (fd !== undefined) return { fd }
  const path = workerSocket ?? (environment.SLUICE_FD === undefined ? environment.SLUICE_SOCKET : undefined)
  if (path !== undefined) return { path, token: token ?? environment.SLUICE_TOKEN }
  if (environment.SLUICE_FD === undefined) {
    throw new NoGateway('SLUICE_FD is not set: let a sluice pool with mode "socket" start me, or set SLUICE_SOCKET')
  }
  return { fd: /^\d+$/.test(environment.SLUICE_FD) ? Number(environment.SLUICE_FD) : environment.SLUICE_FD }
}

export function openSocket({ fd, path }) {
  if (path !== undefined) return net.connect({ path, writableHighWaterMark: WRITE_AHEAD_BYTES })
  try {
    return new net.Socket({ fd, readable: true, writable: true, writableHighWaterMark: WRITE_AHEAD_BYTES })
  } catch (error) {
    throw new NoGateway(`SLUICE_FD=${fd} is not an open socket (${error.code ?? error.message})`)
  }
}

/** Whether asking again may help. A refusal is final, unless the gateway only cannot store at present. */
export function passes(error) {
  if (error instanceof Refused) return error.code === CANNOT_STORE
  return error instanceof GatewayGone && (error.systemCode === undefined || LATER.has(error.systemCode))
}

/** Doubles from a tenth of a second to five; each wait is anything between its half and the whole. */
export class Backoff {
  constructor(random = Math.random) {
    this._random = random
    this.reset()
  }

  reset() {
    this._ms = FIRST_WAIT_MS
  }

  next() {
    const ms = this._ms
    this._ms = Math.min(ms * 2, LONGEST_WAIT_MS)
    return ms / 2 + (this._random() * ms) / 2
  }
}
