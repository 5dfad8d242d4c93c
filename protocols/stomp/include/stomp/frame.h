/* STOMP frames, versions 1.0, 1.1 and 1.2, in both directions.
 *
 * Reading has two steps. The scanner finds the end of a frame and every fault
 * in its shape while bytes arrive; it keeps its place, so that it looks at
 * each byte a fixed number of times however small the pieces are. A complete
 * frame is then taken apart into views; only headers with an escape are
 * copied, into an arena that is used again for the next frame.
 *
 *      bytes ──▶ stomp_scan (SL_EMORE … SL_OK) ──▶ stomp_frame_parse ──▶ views
 *
 * Writing is sticky: begin, headers, end; the end tells whether all fitted,
 * and half a frame is never left behind. */
#ifndef STOMP_FRAME_H
#define STOMP_FRAME_H

#include "core/bytes.h"
#include "core/message.h"

enum stomp_version { STOMP_V10, STOMP_V11, STOMP_V12 };

enum stomp_command {
    STOMP_NO_COMMAND,
    /* client to server */
    STOMP_CONNECT,
    STOMP_STOMP,
    STOMP_SEND,
    STOMP_SUBSCRIBE,
    STOMP_UNSUBSCRIBE,
    STOMP_ACK,
    STOMP_NACK,
    STOMP_BEGIN,
    STOMP_COMMIT,
    STOMP_ABORT,
    STOMP_DISCONNECT,
    /* server to client */
    STOMP_CONNECTED,
    STOMP_MESSAGE,
    STOMP_RECEIPT,
    STOMP_ERROR,
    STOMP_NCOMMANDS
};

/* What is wrong with a frame's shape. */
enum stomp_fault {
    STOMP_FAULT_NONE,
    STOMP_FAULT_COMMAND_UNKNOWN,
    STOMP_FAULT_COMMAND_TOO_LONG,
    STOMP_FAULT_HEADER_COLON,
    STOMP_FAULT_HEADER_NAME,
    STOMP_FAULT_HEADER_NUL,
    STOMP_FAULT_HEADER_CR,
    STOMP_FAULT_HEADER_UTF8,
    STOMP_FAULT_HEADER_ESCAPE,
    STOMP_FAULT_HEADER_TOO_LONG,
    STOMP_FAULT_HEADERS_TOO_MANY,
    STOMP_FAULT_CONTENT_LENGTH,
    STOMP_FAULT_BODY_FORBIDDEN,
    STOMP_FAULT_BODY_TOO_LARGE,
    STOMP_FAULT_BODY_NUL,
    STOMP_FAULT_FRAME_TOO_LARGE,
};

/* The headers that the protocol itself gives a meaning. */
enum stomp_header {
    STOMP_H_ACCEPT_VERSION,
    STOMP_H_HOST,
    STOMP_H_LOGIN,
    STOMP_H_PASSCODE,
    STOMP_H_HEART_BEAT,
    STOMP_H_CLIENT_ID,
    STOMP_H_DESTINATION,
    STOMP_H_CONTENT_LENGTH,
    STOMP_H_CONTENT_TYPE,
    STOMP_H_RECEIPT,
    STOMP_H_TRANSACTION,
    STOMP_H_REPLY_TO,
    STOMP_H_CORRELATION_ID,
    STOMP_H_ID,
    STOMP_H_ACK,
    STOMP_H_MESSAGE_ID,
    STOMP_H_SUBSCRIPTION,
    STOMP_H_RETAIN,
    STOMP_NHEADERS,
    STOMP_H_OTHER = STOMP_NHEADERS
};

/* Longest command line that is read on; the longest command has 11 bytes. */
#define STOMP_MAX_COMMAND 16u

/* ---- scanning ---- */

/* How a frame is judged. `version` is 1.0 until one is agreed on: then bodies
 * and escapes of any frame pass here and are the session's to judge. */
struct stomp_rules {
    enum stomp_version version;
    bool from_client;     /* which half of the commands is known */
    uint32_t max_headers; /* lines */
    uint32_t max_line;    /* bytes of one header line, at most 65,535 */
    size_t max_body;
    size_t max_frame; /* bytes of the whole frame; SIZE_MAX: the other limits suffice */
};

/* Embedded; all zero is the start of a frame. */
struct stomp_scan {
    size_t pos;      /* bytes that were looked at: of a complete frame, all with its NUL */
    size_t line;     /* where the current line starts */
    size_t body;     /* where the body starts; 0: headers not complete */
    uint64_t length; /* content-length, when has_length */
    uint32_t n_headers;
    uint8_t head; /* bytes of the command line with its end */
    uint8_t state, command, fault;
    bool has_length, complete;
    bool escapes; /* a header line may have one */
};

/* How many end-of-lines (LF or CR LF) `in` starts with, in bytes: what may
 * stand between frames. A CR at the very end is not counted yet. */
size_t stomp_skip_eols(struct sl_bytes in);

/* Goes on where the last call stopped; `in` starts at the frame's first byte
 * and is never shorter than before, but may have moved.
 *
 * SL_OK      the frame is complete: sc->pos bytes of `in`
 * SL_EMORE   it is not
 * SL_EPEER   sc->fault says why; do not go on. The first sc->pos bytes are
 *            what was looked at, the same for every way of splitting */
SL_CHECK int stomp_scan(struct stomp_scan *sc, const struct stomp_rules *r, struct sl_bytes in);

/* ---- taking apart ---- */

/* One header line, still escaped, without its end. */
struct stomp_line {
    struct sl_bytes name, value;
};

/* Takes the next line off `block`, header lines as they stand in a frame;
 * false at the empty line, at an incomplete one and at the end. A line without
 * a colon is all name. */
bool stomp_line_next(struct sl_bytes *block, struct stomp_line *out);

/* Scratch memory of stomp_frame_parse; all zero is empty. */
struct stomp_arena {
    struct message_header *headers;
    size_t headers_cap;
    uint8_t *text;
    size_t text_cap, text_used;
};

void stomp_arena_fini(struct stomp_arena *a);

/* Views into the frame's bytes or the arena. */
struct stomp_frame {
    enum stomp_command command;
    uint32_t present;                     /* bit per enum stomp_header */
    struct sl_bytes own[STOMP_NHEADERS];  /* valid where `present` says so */
    const struct message_header *headers; /* all others, in order, repeated ones kept */
    size_t n_headers;
    struct sl_bytes head; /* command and header lines as received */
    struct sl_bytes body;
};

/* Takes a complete frame apart. Which headers are the protocol's own depends
 * on the command; of a repeated one the first counts. Room for a second copy
 * of every header stays in the arena (stomp_arena_take). */
void stomp_frame_parse(struct stomp_arena *a, const struct stomp_scan *sc,
                       enum stomp_version version, struct sl_bytes raw, struct stomp_frame *out);
/* n bytes of the arena; all takes for one frame together at most as many
 * bytes as its headers have, and STOMP_ARENA_SPARE. */
#define STOMP_ARENA_SPARE 320u
uint8_t *stomp_arena_take(struct stomp_arena *a, size_t n) SL_CHECK;

static inline bool stomp_has(const struct stomp_frame *f, enum stomp_header h)
{
    return (f->present >> h & 1u) != 0;
}

/* The first header of that name among `headers`, NULL if there is none. */
const struct message_header *stomp_frame_find(const struct stomp_frame *f, const char *name);

/* ---- names and escapes ---- */

const char *stomp_version_name(enum stomp_version v);
const char *stomp_command_name(enum stomp_command c);
enum stomp_command stomp_command_of(struct sl_bytes name, bool from_client);
enum stomp_header stomp_header_of(struct sl_bytes name);
const char *stomp_header_name(enum stomp_header h);
/* CONNECT, STOMP (as the first frame) and CONNECTED are never escaped. */
bool stomp_command_escapes(enum stomp_command c);

/* True when each backslash starts an escape that the version defines. */
bool stomp_escapes_valid(enum stomp_version v, struct sl_bytes in);
/* Writes at most in.n bytes and returns how many; `in` must be valid. */
size_t stomp_unescape(enum stomp_version v, struct sl_bytes in, uint8_t *out);
/* At most 2 * in.n bytes; their end is returned. What cannot be said (a
 * line feed in 1.0, NUL in any) becomes a space: a header never breaks a frame. */
size_t stomp_escaped_bytes(enum stomp_version v, struct sl_bytes in);
uint8_t *stomp_wr_escaped(uint8_t *p, enum stomp_version v, struct sl_bytes in);

/* ---- writing ---- */

struct stomp_writer {
    struct sl_buf *b;
    size_t start; /* length of `b` before the frame */
    enum stomp_version version; /* whose escapes are written */
    bool bad;
};

void stomp_begin(struct stomp_writer *w, struct sl_buf *b, enum stomp_version v,
                 enum stomp_command c);
/* Escaped as version and command ask: CONNECTED as in 1.0. */
void stomp_put(struct stomp_writer *w, const char *name, struct sl_bytes value);
void stomp_put_bytes(struct stomp_writer *w, struct sl_bytes name, struct sl_bytes value);
void stomp_put_u64(struct stomp_writer *w, const char *name, uint64_t value);
/* Blank line, body, NUL. A body that is not empty gets its content-length.
 * SL_OK, or SL_ETOOBIG when the buffer's maximum did not allow the frame;
 * the buffer is then as before stomp_begin. */
SL_CHECK int stomp_end(struct stomp_writer *w, struct sl_bytes body);

#endif
