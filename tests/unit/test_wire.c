/* The frame codec against the recorded frames, every split of them, and a table
 * of what is refused and with which word. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../workers/describe.h"
#include "../workers/frames.h"
#include "core/alloc.h"

static struct frame_rows frames;

static struct wire_reader reader_of(enum wire_side from)
{
    return (struct wire_reader){ from, 1u << 20, NULL };
}

static int encode(struct sl_buf *out, const struct wire_frame *f)
{
    switch (f->type) {
    case WIRE_HELLO:
        return wire_encode_hello(out, &f->u.hello);
    case WIRE_ACK:
        return wire_encode_ack(out, &f->u.ack);
    case WIRE_ACKS:
        return wire_encode_acks(out, &f->u.acks);
    case WIRE_RETRY:
        return wire_encode_retry(out, &f->u.retry);
    case WIRE_DEAD:
        return wire_encode_dead(out, &f->u.dead);
    case WIRE_PROGRESS:
        return wire_encode_progress(out, &f->u.progress);
    case WIRE_EXTEND:
        return wire_encode_extend(out, &f->u.extend);
    case WIRE_PUBLISH:
        return wire_encode_publish(out, &f->u.publish);
    case WIRE_WELCOME:
        return wire_encode_welcome(out, &f->u.welcome);
    case WIRE_DELIVER:
        return wire_encode_deliver(out, &f->u.deliver);
    case WIRE_ERROR:
        return wire_encode_error(out, &f->u.error);
    case WIRE_PUBLISHED:
        return wire_encode_published(out, &f->u.published);
    case WIRE_RELEASE:
    case WIRE_SOFT_LIMIT:
    case WIRE_STALE:
        return wire_encode_tag(out, f->type, f->u.tag);
    case WIRE_BYE:
    case WIRE_DRAIN:
        return wire_encode_empty(out, f->type);
    case WIRE_RESERVED_ACK_PUBLISH:
    case WIRE_RESERVED_DELIVER_BATCH:
        break;
    }
    return SL_EINVAL;
}

static void recorded_frames_say_what_is_written_beside_them(void **state)
{
    (void)state;
    assert_true(frames.n >= 25);
    for (size_t i = 0; i < frames.n; i++) {
        const struct frame_row *row = &frames.rows[i];
        struct wire_reader reader = reader_of(row->from);
        struct wire_frame f;
        size_t consumed = 0;
        assert_int_equal(wire_decode(sl_bytes_of(row->bytes, row->n), &reader, &f, &consumed),
                         SL_OK);
        assert_int_equal(consumed, row->n);
        struct sl_buf line;
        sl_buf_init(&line, 0);
        describe(&line, &f);
        line.p[line.end - 1] = '\0';
        assert_string_equal((const char *)line.p, row->text);
        sl_buf_fini(&line);
    }
}

static void recorded_frames_encode_to_the_same_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < frames.n; i++) {
        const struct frame_row *row = &frames.rows[i];
        struct wire_reader reader = reader_of(row->from);
        struct wire_frame f;
        size_t consumed;
        assert_int_equal(wire_decode(sl_bytes_of(row->bytes, row->n), &reader, &f, &consumed),
                         SL_OK);
        struct sl_buf out;
        sl_buf_init(&out, 0);
        assert_int_equal(encode(&out, &f), SL_OK);
        assert_int_equal(sl_buf_len(&out), row->n);
        assert_memory_equal(sl_buf_view(&out).p, row->bytes, row->n);
        sl_buf_fini(&out);
    }
}

/* An exact heap copy, so that the sanitizer sees a read past the end. */
static int decode_start(const struct frame_row *row, size_t n, struct wire_reader *reader)
{
    uint8_t *exact = sl_alloc(n);
    memcpy(exact, row->bytes, n);
    struct wire_frame f;
    size_t consumed;
    int err = wire_decode(sl_bytes_of(exact, n), reader, &f, &consumed);
    sl_free(exact);
    return err;
}

static void a_frame_cut_anywhere_asks_for_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < frames.n; i++) {
        const struct frame_row *row = &frames.rows[i];
        struct wire_reader reader = reader_of(row->from);
        for (size_t n = 0; n < row->n; n++)
            assert_int_equal(decode_start(row, n, &reader), SL_EMORE);
        assert_null(reader.fault);
    }
}

/* Feeds all frames of one side as one stream in pieces of `step` bytes. */
static void check_stream(enum wire_side from, size_t step)
{
    struct sl_buf all, in, log, want;
    sl_buf_init(&all, 0);
    sl_buf_init(&in, 0);
    sl_buf_init(&log, 0);
    sl_buf_init(&want, 0);
    for (size_t i = 0; i < frames.n; i++) {
        if (frames.rows[i].from != from)
            continue;
        assert_int_equal(sl_buf_append(&all, frames.rows[i].bytes, frames.rows[i].n), SL_OK);
        assert_int_equal(sl_buf_printf(&want, "%s\n", frames.rows[i].text), SL_OK);
    }
    struct wire_reader reader = reader_of(from);
    while (sl_buf_len(&all) > 0) {
        size_t n = step < sl_buf_len(&all) ? step : sl_buf_len(&all);
        assert_int_equal(sl_buf_append(&in, sl_buf_view(&all).p, n), SL_OK);
        sl_buf_consume(&all, n);
        struct wire_frame f;
        size_t consumed;
        int err;
        while ((err = wire_decode(sl_buf_view(&in), &reader, &f, &consumed)) == SL_OK) {
            describe(&log, &f);
            sl_buf_consume(&in, consumed);
        }
        assert_int_equal(err, SL_EMORE);
    }
    assert_int_equal(sl_buf_len(&in), 0);
    assert_true(sl_bytes_eq(sl_buf_view(&log), sl_buf_view(&want)));
    sl_buf_fini(&all);
    sl_buf_fini(&in);
    sl_buf_fini(&log);
    sl_buf_fini(&want);
}

static void a_stream_of_frames_is_the_same_at_any_split(void **state)
{
    (void)state;
    for (size_t step = 1; step <= 300; step++) {
        check_stream(WIRE_FROM_WORKER, step);
        check_stream(WIRE_FROM_GATEWAY, step);
    }
    check_stream(WIRE_FROM_WORKER, 100000);
    check_stream(WIRE_FROM_GATEWAY, 100000);
}

/* ---- what is refused ---- */

#define TAG7 "\x07\0\0\0\0\0\0\0"

static void malformed_frames_are_refused_with_their_word(void **state)
{
    (void)state;
    static struct frame_rows faults;
    frames_load_file(&faults, FAULTS_FILE);
    assert_true(faults.n >= 50);
    for (size_t i = 0; i < faults.n; i++) {
        const struct frame_row *row = &faults.rows[i];
        struct wire_reader reader = reader_of(row->from);
        if (decode_start(row, row->n, &reader) != SL_EPEER)
            fail_msg("%s is not refused", row->name);
        assert_string_equal(reader.fault, row->text);
    }
}

static void a_frame_over_the_limit_is_refused_by_its_length_alone(void **state)
{
    (void)state;
    struct wire_reader reader = { WIRE_FROM_WORKER, 9, NULL };
    struct wire_frame f;
    size_t consumed;
    assert_int_equal(wire_decode(sl_bytes_of("\x0a\0\0\0", 4), &reader, &f, &consumed), SL_ETOOBIG);
    assert_string_equal(reader.fault, "frame-too-large");
    assert_int_equal(wire_decode(sl_bytes_of("\xff\xff\xff\xff\x02", 5), &reader, &f, &consumed),
                     SL_ETOOBIG);
    assert_int_equal(wire_decode(sl_bytes_of("\x09\0\0\0\x02" TAG7, 13), &reader, &f, &consumed),
                     SL_OK);
}

/* The recorded full delivery with one byte of its record changed at a time. */
static void a_damaged_record_never_passes_as_longer_than_its_frame(void **state)
{
    (void)state;
    struct frame_row row = *frames_find(&frames, "deliver-full");
    for (size_t at = WIRE_HEAD + WIRE_DELIVER_FIXED; at < row.n; at++) {
        row.bytes[at] ^= 0xff;
        struct wire_reader reader = reader_of(WIRE_FROM_GATEWAY);
        int err = decode_start(&row, row.n, &reader);
        assert_true(err == SL_OK ||
                    (err == SL_EPEER && strcmp(reader.fault, "record-malformed") == 0));
        row.bytes[at] ^= 0xff;
    }
}

static void texts_over_their_limit_are_refused(void **state)
{
    (void)state;
    uint8_t bytes[4 + 1 + 8 + 2 + WIRE_REASON_MAX + 1];
    memset(bytes, 'x', sizeof bytes);
    uint8_t *p = sl_wr_u32le(bytes, sizeof bytes - 4);
    p = sl_wr_u8(p, WIRE_DEAD);
    p = sl_wr_u64le(p, 7);
    (void)sl_wr_u16le(p, WIRE_REASON_MAX + 1);
    struct wire_reader reader = reader_of(WIRE_FROM_WORKER);
    struct wire_frame f;
    size_t consumed;
    assert_int_equal(wire_decode(sl_bytes_of(bytes, sizeof bytes), &reader, &f, &consumed),
                     SL_EPEER);
    assert_string_equal(reader.fault, "text-too-long");
}

/* ---- encoders ---- */

static void a_token_is_written_whole_or_not_at_all(void **state)
{
    (void)state;
    char longest[WIRE_TOKEN_MAX + 1];
    memset(longest, 'x', sizeof longest);
    struct wire_hello hello = { .version = 1,
                                .name = sl_str("w"),
                                .token = sl_bytes_of(longest, sizeof longest) };
    struct sl_buf out;
    sl_buf_init(&out, 0);
    assert_int_equal(wire_encode_hello(&out, &hello), SL_EINVAL);
    hello.token = sl_str("\xff");
    assert_int_equal(wire_encode_hello(&out, &hello), SL_EINVAL);
    assert_int_equal(sl_buf_len(&out), 0);
    hello.token = sl_bytes_of(longest, WIRE_TOKEN_MAX);
    assert_int_equal(wire_encode_hello(&out, &hello), SL_OK);
    struct wire_reader reader = reader_of(WIRE_FROM_WORKER);
    struct wire_frame f;
    size_t consumed;
    assert_int_equal(wire_decode(sl_buf_view(&out), &reader, &f, &consumed), SL_OK);
    assert_true(sl_bytes_eq(f.u.hello.token, hello.token));
    sl_buf_fini(&out);
}

static void many_acks_are_whole_tags_and_at_least_one(void **state)
{
    (void)state;
    static const uint8_t tags[16] = { 1, 0, 0, 0, 0, 0, 0, 0, 2 };
    struct sl_buf out;
    sl_buf_init(&out, 0);
    assert_int_equal(wire_encode_acks(&out, &(struct wire_acks){ SL_BYTES_NONE }), SL_EINVAL);
    assert_int_equal(wire_encode_acks(&out, &(struct wire_acks){ sl_bytes_of(tags, 12) }),
                     SL_EINVAL);
    assert_int_equal(sl_buf_len(&out), 0);
    struct wire_acks both = { sl_bytes_of(tags, 16) };
    assert_int_equal(wire_acks_count(&both), 2);
    assert_int_equal(wire_acks_tag(&both, 0), 1);
    assert_int_equal(wire_acks_tag(&both, 1), 2);
    assert_true(WIRE_ACKS_MAX * sizeof(uint64_t) < wire_frame_limit(0, 0));
    sl_buf_fini(&out);
}

static void check_reason(struct sl_bytes reason, size_t want_n, const char *want_end)
{
    struct sl_buf out;
    sl_buf_init(&out, 0);
    struct wire_dead dead = { 7, reason };
    assert_int_equal(wire_encode_dead(&out, &dead), SL_OK);
    struct wire_reader reader = reader_of(WIRE_FROM_WORKER);
    struct wire_frame f;
    size_t consumed;
    assert_int_equal(wire_decode(sl_buf_view(&out), &reader, &f, &consumed), SL_OK);
    assert_int_equal(f.u.dead.reason.n, want_n);
    size_t n = strlen(want_end);
    assert_memory_equal(f.u.dead.reason.p + want_n - n, want_end, n);
    sl_buf_fini(&out);
}

static void reasons_are_cut_between_characters_and_made_readable(void **state)
{
    (void)state;
    uint8_t text[2000];
    memset(text, 'x', sizeof text);
    check_reason(sl_bytes_of(text, 2000), 1024, "xx");
    memcpy(text + 1022, "\xe2\x82\xac", 3); /* would end inside the sign */
    check_reason(sl_bytes_of(text, 2000), 1022, "xx");
    memset(text, 'x', sizeof text);
    memcpy(text + 1021, "\xe2\x82\xac", 3); /* fits exactly */
    check_reason(sl_bytes_of(text, 1024), 1024, "\xe2\x82\xac");
    check_reason(sl_bytes_of(text, 1025), 1024, "\xe2\x82\xac");
    check_reason(sl_bytes_of("a\xff"
                             "b\0c",
                             5),
                 5, "a?b?c");
    memset(text, 0x80, sizeof text);
    check_reason(sl_bytes_of(text, 2000), 1021, "??");
}

static void a_full_buffer_is_left_as_it_was(void **state)
{
    (void)state;
    for (size_t i = 0; i < frames.n; i++) {
        const struct frame_row *row = &frames.rows[i];
        struct wire_reader reader = reader_of(row->from);
        struct wire_frame f;
        size_t consumed;
        assert_int_equal(wire_decode(sl_bytes_of(row->bytes, row->n), &reader, &f, &consumed),
                         SL_OK);
        struct sl_buf out;
        sl_buf_init(&out, row->n + 2);
        assert_int_equal(sl_buf_append(&out, "abc", 3), SL_OK);
        assert_int_equal(encode(&out, &f), SL_ETOOBIG);
        assert_true(sl_bytes_is(sl_buf_view(&out), "abc"));
        sl_buf_fini(&out);
    }
}

static void frame_limit_leaves_room_and_never_passes_the_maximum(void **state)
{
    (void)state;
    assert_int_equal(wire_frame_limit(1000, 5000), 5000 + WIRE_FRAME_OVERHEAD);
    assert_int_equal(wire_frame_limit(6000, 5000), 6000 + WIRE_FRAME_OVERHEAD);
    assert_int_equal(wire_frame_limit(UINT32_MAX, 0), WIRE_FRAME_MAX);
    assert_int_equal(wire_frame_bytes(sl_bytes_of("\x01\0\0", 3)), 0);
    assert_int_equal(wire_frame_bytes(sl_bytes_of("\x01\x01\0\0", 4)), 261);
}

static int load(void **state)
{
    (void)state;
    frames_load(&frames);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_frames_say_what_is_written_beside_them),
        cmocka_unit_test(recorded_frames_encode_to_the_same_bytes),
        cmocka_unit_test(a_frame_cut_anywhere_asks_for_more),
        cmocka_unit_test(a_stream_of_frames_is_the_same_at_any_split),
        cmocka_unit_test(malformed_frames_are_refused_with_their_word),
        cmocka_unit_test(a_frame_over_the_limit_is_refused_by_its_length_alone),
        cmocka_unit_test(a_damaged_record_never_passes_as_longer_than_its_frame),
        cmocka_unit_test(texts_over_their_limit_are_refused),
        cmocka_unit_test(a_token_is_written_whole_or_not_at_all),
        cmocka_unit_test(many_acks_are_whole_tags_and_at_least_one),
        cmocka_unit_test(reasons_are_cut_between_characters_and_made_readable),
        cmocka_unit_test(a_full_buffer_is_left_as_it_was),
        cmocka_unit_test(frame_limit_leaves_room_and_never_passes_the_maximum),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
