/* Bytes and content type of what a program gives as a result or payload. */

/** Bytes stay bytes, text becomes UTF-8, anything else JSON. */
export function contentOf(value, contentType) {
  if (value === undefined) return { data: Buffer.alloc(0), type: contentType ?? '' }
  if (ArrayBuffer.isView(value)) {
    return { data: Buffer.from(value.buffer, value.byteOffset, value.byteLength), type: contentType ?? '' }
  }
  if (value instanceof ArrayBuffer) return { data: Buffer.from(value), type: contentType ?? '' }
  if (typeof value === 'string') return { data: Buffer.from(value), type: contentType ?? 'text/plain; charset=utf-8' }
  const json = JSON.stringify(value)
  if (json === undefined) throw new TypeError(`a ${typeof value} can be sent neither as bytes nor as JSON`)
  return { data: Buffer.from(json), type: contentType ?? 'application/json' }
}
