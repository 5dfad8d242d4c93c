/* What is written to the gateway. Answers gather in a block and leave with one write: before the program
 * waits for anything, when 64 KiB have gathered, when the oldest is 1 ms old as the next message is taken,
 * and before a message that may have been delivered before, so that it alone is charged if it kills us.
 *
 * "Before the program waits" is the check phase of Node's loop: it comes when everything that could run has
 * run, and before anything sleeps, also when a handler awaits something that is not ours. So answers get old
 * only while handlers keep the loop from turning; then it is made to turn before the next message, which
 * lets signals and frames in as well.
 *
 * A message whose handler really waited took long anyway: its answer is written before the next one begins,
 * together with those of the same turn, so that no other message is charged for what that one does.
 *
 * A block is written piece by piece and never used again for other bytes: the stream may still hold it. */

import { ACK, ACKS } from './frames.js'

const BLOCK_BYTES = 64 << 10
const COPIED_BYTES = 4 << 10
const FLUSH_AGE_MS = 1
const ACK_BYTES = 13
/* Plain acks in a row are one ACKS frame, with fewer tags than the 16,384 that one may have. */
const RUN_BYTES = 32 << 10

export class Output {
  /* `write` takes a Buffer, and is false when the socket takes no more for now. */
  constructor(write) {
    this._write = write
    this._block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
    this._start = 0
    this._at = 0
    this._run = -1
    this._since = 0
    this._scheduled = false
    this._held = false
    this._later = () => {
      this._scheduled = false
      this.turn++
      this.flush()
    }
    /** Counts the loop's turns in which something began or was answered. */
    this.turn = 0
    /** Set while the socket takes no more; nothing new is begun then, so that memory stays bounded. */
    this.blocked = false
  }

  /** An ack without result for the tag at `at` of `bytes`; `type`: ACKS when it is one of many. */
  ack(bytes, at, type = ACK) {
    if (this._run >= 0 && this._at - this._run < RUN_BYTES && this._at + 8 <= BLOCK_BYTES) this._extend(bytes, at)
    else this._first(bytes, at, type)
  }

  _first(bytes, at, type) {
    const block = this._room(ACK_BYTES)
    const here = this._at
    block[here] = 9
    block[here + 1] = block[here + 2] = block[here + 3] = 0
    block[here + 4] = type
    this._tag(here + 5, bytes, at)
    this._run = here
  }

  _extend(bytes, at) {
    const run = this._run
    const length = this._at + 4 - run
    this._block[run] = length
    this._block[run + 1] = length >>> 8
    this._block[run + 4] = ACKS
    this._tag(this._at, bytes, at)
  }

  /* By hand: for eight bytes a call of copy takes longer. */
  _tag(to, bytes, at) {
    const block = this._block
    for (let i = 0; i < 8; i++) block[to + i] = bytes[at + i]
    this._at = to + 8
  }

  frame(frame) {
    this._run = -1
    if (frame.length > COPIED_BYTES) {
      this.flush()
      this._send(frame)
      return
    }
    this._at += frame.copy(this._room(frame.length), this._at)
  }

  _room(n) {
    if (this._at + n > BLOCK_BYTES) {
      this.flush()
      this._block = Buffer.allocUnsafeSlow(BLOCK_BYTES)
      this._start = this._at = 0
    }
    if (this._at === this._start) {
      this._since = performance.now()
      this._schedule()
    }
    return this._block
  }

  _schedule() {
    if (this._scheduled) return
    this._scheduled = true
    setImmediate(this._later)
  }

  /** A message begins; the turn that it begins in. */
  begin(suspect) {
    if (suspect) this.flush()
    this._schedule()
    return this.turn
  }

  /** A message that began in that turn has its answer in the output. */
  answered(turn) {
    if (turn !== this.turn) this._held = true
  }

  /** What gathered is to be written before anything begins: Node's loop has to turn. */
  get overdue() {
    return this._at > this._start && (this._held || performance.now() - this._since >= FLUSH_AGE_MS)
  }

  flush() {
    if (this._at === this._start) return
    const gathered = this._block.subarray(this._start, this._at)
    this._start = this._at
    this._run = -1
    this._held = false
    this._send(gathered)
  }

  _send(bytes) {
    if (!this._write(bytes)) this.blocked = true
  }
}
