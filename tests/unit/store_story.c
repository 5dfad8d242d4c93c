/* The kit's fixed story, batch by batch. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>

#include "core/alloc.h"
#include "store_kit.h"

/* One message waits for two sessions, one for a queue and a session. */
static void story_of_copies(uint32_t i, uint64_t first, struct batch *b)
{
    kit_body(b, first + 5, 100);
    kit_copy(b, first + 5, 10, (uint16_t)i, 1);
    if (i < 8)
        kit_copy(b, first + 5, 11, 0, 3);
    kit_enqueue(b, first + 6, 1, 100);
    kit_copy(b, first + 6, 10, 0, 0);
    if (i > 1)
        kit_released(b, first - 10 + 5, 10, (uint16_t)(i - 1));
    if (i > 1 && i <= 8)
        kit_copy_drop(b, first - 10 + 5, 11);
    if (i > 2) {
        kit_copy_drop(b, first - 20 + 5, 10);
        batch_add(b, BATCH_BODY_DROP)->id = first - 20 + 5;
        struct batch_op *op = batch_add(b, BATCH_SETTLE);
        op->id = first - 20 + 6;
        op->queue = 1;
    }
    if (i > 3) {
        kit_copy_drop(b, first - 30 + 6, 10);
        batch_add(b, BATCH_BODY_DROP)->id = first - 30 + 6;
    }
}

static void story_of_subscribers(uint32_t i, uint64_t first, struct batch *b)
{
    char filter[32];
    snprintf(filter, sizeof filter, "a/%" PRIu32 "/#", i);
    if (i == 1) {
        kit_session(b, 10, "subscriber");
        kit_session(b, 11, "guest");
    }
    kit_subscription(b, 10, i, filter);
    if (i <= 8)
        kit_subscription(b, 11, i % 2, "b/+");
    if (i > 3)
        kit_subscription_drop(b, 10, i - 3);
    if (i % 3 == 1)
        batch_add(b, BATCH_WILL_DROP)->id = 10;
    else
        kit_will(b, 10, 100 * i);
    story_of_copies(i, first, b);
    if (i % 2 == 0)
        kit_retain(b, first + 7, 1000 * i);
    if (i % 4 == 0)
        batch_add(b, BATCH_RETAIN_DROP)->id = first - 20 + 7;
    if (i == 8)
        batch_add(b, BATCH_SESSION_DROP)->id = 11;
}

/* Two more messages with job-ids, one of them large and of a line; the other dies. */
static void story_of_jobs(uint32_t i, uint64_t first, struct batch *b)
{
    kit_enqueue(b, first + 8, 1, 10);
    kit_make_job(b, 200);
    kit_enqueue(b, first + 9, 2, 10);
    kit_make_job(b, 900);
    kit_order(b, i % 2 == 0 ? 0 : 0x1122334455667788 + i);
    if (i > 1)
        kit_dead(b, first - 10 + 8, 1, i % 2 == 0 ? QUEUE_CAUSE_SIGNAL : QUEUE_CAUSE_NONE);
    if (i > 2) {
        kit_settle(b, first - 20 + 8, 1);
        kit_settle(b, first - 20 + 9, 2);
    }
}

/* Each queue's window has the keys of three batches; the keys outlive their messages. */
static void story_of_queues(uint32_t i, uint64_t first, struct batch *b)
{
    static const char *const orders[] = { "none", "client", "header:device" };
    story_of_jobs(i, first, b);
    for (uint32_t k = 0; k < 2; k++) {
        kit_dedup(b, first + k, 1 + k, (uint8_t)(i + k));
        if (i > 3)
            kit_dedup_drop(b, first - 30 + k, 1 + k);
    }
    if (i % 2 == 0)
        kit_dedup(b, first, 2, 0xff);
    kit_queue_record(b, 1 + i % 3, i % 2 == 0, orders[i % SL_COUNT(orders)]);
    kit_schedule(b, "nightly", 1000 * i);
    if (i % 3 == 0)
        kit_schedule_drop(b, "night");
    else
        kit_schedule(b, "night", i);
}

void kit_scenario(uint32_t i, struct batch *b)
{
    uint64_t first = (uint64_t)1 << 40 | (uint64_t)i * 10;
    for (uint32_t k = 0; k < 4; k++)
        kit_enqueue(b, first + k, 1 + k % 2, k == 3 ? 9000 : 100 + 50 * k);
    if (i > 1)
        kit_settle(b, first - 10, 1);
    if (i > 2)
        kit_update(b, first - 20 + 1, 2, i, "a line of stderr");
    kit_session(b, i % 3, i % 2 == 0 ? "even" : "odd");
    struct batch_op *op = batch_add(b, i % 4 == 0 ? BATCH_QOS2_DROP : BATCH_QOS2_ADD);
    op->id = i % 3;
    op->packet_id = (uint16_t)(i % 4 == 0 ? i - 3 : i);
    if (i % 5 == 0)
        batch_add(b, BATCH_SESSION_DROP)->id = 1;
    story_of_subscribers(i, first, b);
    story_of_queues(i, first, b);
}

char *kit_scenario_content(uint32_t n)
{
    struct store *oracle = kit_open("memory", "");
    struct batch *b = batch_new();
    for (uint32_t i = 1; i <= n; i++) {
        kit_scenario(i, b);
        kit_apply(oracle, b);
    }
    char *text = kit_content(oracle);
    batch_free(b);
    store_close(oracle);
    return text;
}
