/* Any bytes as packets of either version and direction. What decodes must
 * encode, and the encoding must decode to the same encoding.
 *
 * First byte: bit 0 version, bit 1 direction; then packets. */
#include <string.h>

#include "core/alloc.h"
#include "mqtt_recode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The second coding has no freedom left: it is byte for byte the first. */
static void check_stable(struct mqtt_frame *f)
{
    struct sl_buf once = {0}, twice = {0};
    if (mqtt_recode(f, &once) == SL_OK) {
        struct mqtt_frame again = {.version = f->version, .from_server = f->from_server};
        int err = mqtt_frame_read(sl_buf_view(&once), MQTT_PACKET_MAX, &again);
        SL_ASSERT(err == SL_OK && again.type == f->type && again.flags == f->flags);
        SL_ASSERT(mqtt_recode(&again, &twice) == SL_OK);
        SL_ASSERT(sl_bytes_eq(sl_buf_view(&once), sl_buf_view(&twice)));
    } else {
        SL_ASSERT(f->fault >= MQTT_UNSPECIFIED_ERROR && f->fault_word[0] != 0);
    }
    sl_buf_fini(&once);
    sl_buf_fini(&twice);
}

/* In memory of its own size, so that a read past the end is seen. */
static void check_alone(const struct mqtt_frame *f)
{
    struct mqtt_frame copy = *f;
    uint8_t *body = sl_alloc(f->body.n);
    if (f->body.n > 0)
        memcpy(body, f->body.p, f->body.n);
    copy.body = sl_bytes_of(body, f->body.n);
    check_stable(&copy);
    sl_free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct sl_bytes in = sl_bytes_of(data + 1, size - 1);
    struct mqtt_frame f = {.version = data[0] & 1 ? MQTT_V5 : MQTT_V311,
                           .from_server = (data[0] & 2) != 0};
    while (mqtt_frame_read(in, 1u << 20, &f) == SL_OK) {
        check_alone(&f);
        in = sl_bytes_of(in.p + f.size, in.n - f.size);
    }
    return 0;
}
