/* One table says everything about a property: its type, where it may stand,
 * which values it may take. Decoder, encoder and accessors all read it. */
#include "mqtt/properties.h"

#include "core/utf8.h"
#include "wire.h"

enum kind {
    KIND_NONE,
    KIND_U8,
    KIND_U16,
    KIND_U32,
    KIND_VARINT,
    KIND_STRING,
    KIND_BINARY,
    KIND_PAIR
};

struct row {
    uint8_t kind;
    uint8_t slot; /* in numbers[] or strings[] */
    uint16_t places;
    uint32_t least, most;
};

#define PUBLISHED (MQTT_PLACE_PUBLISH_UP | MQTT_PLACE_PUBLISH_DOWN | MQTT_PLACE_WILL)
#define GREETING  (MQTT_PLACE_CONNECT | MQTT_PLACE_CONNACK)
#define GOODBYE   (MQTT_PLACE_DISCONNECT_UP | MQTT_PLACE_DISCONNECT_DOWN)
#define EXPLAINED (MQTT_PLACE_CONNACK | MQTT_PLACE_ACK | GOODBYE | MQTT_PLACE_AUTH)
#define ANYWHERE                                                                                   \
    (PUBLISHED | GREETING | GOODBYE | MQTT_PLACE_ACK | MQTT_PLACE_SUBSCRIBE |                      \
     MQTT_PLACE_UNSUBSCRIBE | MQTT_PLACE_AUTH)

/* Table 2-4. A subscription identifier travels up in SUBSCRIBE and down in
 * PUBLISH [MQTT-3.3.4-6]; a session expiry never down in DISCONNECT
 * [MQTT-3.14.2-2]; a server reference only down. An alias of 0 is refused by
 * name, with 0x94, where aliases are resolved. */
/* clang-format off */
static const struct row rows[MQTT_PROP_END] = {
    [MQTT_PROP_PAYLOAD_FORMAT] =              { KIND_U8,     0,  PUBLISHED, 0, 1 },
    [MQTT_PROP_MESSAGE_EXPIRY] =              { KIND_U32,    1,  PUBLISHED, 0, UINT32_MAX },
    [MQTT_PROP_CONTENT_TYPE] =                { KIND_STRING, 0,  PUBLISHED, 0, 0 },
    [MQTT_PROP_RESPONSE_TOPIC] =              { KIND_STRING, 1,  PUBLISHED, 0, 0 },
    [MQTT_PROP_CORRELATION_DATA] =            { KIND_BINARY, 2,  PUBLISHED, 0, 0 },
    [MQTT_PROP_SUBSCRIPTION_ID] =             { KIND_VARINT, 2,  MQTT_PLACE_PUBLISH_DOWN | MQTT_PLACE_SUBSCRIBE, 1, MQTT_VARINT_MAX },
    [MQTT_PROP_SESSION_EXPIRY] =              { KIND_U32,    3,  GREETING | MQTT_PLACE_DISCONNECT_UP, 0, UINT32_MAX },
    [MQTT_PROP_ASSIGNED_CLIENT_ID] =          { KIND_STRING, 3,  MQTT_PLACE_CONNACK, 0, 0 },
    [MQTT_PROP_SERVER_KEEP_ALIVE] =           { KIND_U16,    4,  MQTT_PLACE_CONNACK, 0, UINT16_MAX },
    [MQTT_PROP_AUTH_METHOD] =                 { KIND_STRING, 4,  GREETING | MQTT_PLACE_AUTH, 0, 0 },
    [MQTT_PROP_AUTH_DATA] =                   { KIND_BINARY, 5,  GREETING | MQTT_PLACE_AUTH, 0, 0 },
    [MQTT_PROP_REQUEST_PROBLEM_INFO] =        { KIND_U8,     5,  MQTT_PLACE_CONNECT, 0, 1 },
    [MQTT_PROP_WILL_DELAY] =                  { KIND_U32,    6,  MQTT_PLACE_WILL, 0, UINT32_MAX },
    [MQTT_PROP_REQUEST_RESPONSE_INFO] =       { KIND_U8,     7,  MQTT_PLACE_CONNECT, 0, 1 },
    [MQTT_PROP_RESPONSE_INFO] =               { KIND_STRING, 6,  MQTT_PLACE_CONNACK, 0, 0 },
    [MQTT_PROP_SERVER_REFERENCE] =            { KIND_STRING, 7,  MQTT_PLACE_CONNACK | MQTT_PLACE_DISCONNECT_DOWN, 0, 0 },
    [MQTT_PROP_REASON_STRING] =               { KIND_STRING, 8,  EXPLAINED, 0, 0 },
    [MQTT_PROP_RECEIVE_MAXIMUM] =             { KIND_U16,    8,  GREETING, 1, UINT16_MAX },
    [MQTT_PROP_TOPIC_ALIAS_MAXIMUM] =         { KIND_U16,    9,  GREETING, 0, UINT16_MAX },
    [MQTT_PROP_TOPIC_ALIAS] =                 { KIND_U16,    10, MQTT_PLACE_PUBLISH_UP | MQTT_PLACE_PUBLISH_DOWN, 0, UINT16_MAX },
    [MQTT_PROP_MAXIMUM_QOS] =                 { KIND_U8,     11, MQTT_PLACE_CONNACK, 0, 1 },
    [MQTT_PROP_RETAIN_AVAILABLE] =            { KIND_U8,     12, MQTT_PLACE_CONNACK, 0, 1 },
    [MQTT_PROP_USER] =                        { KIND_PAIR,   0,  ANYWHERE, 0, 0 },
    [MQTT_PROP_MAXIMUM_PACKET_SIZE] =         { KIND_U32,    13, GREETING, 1, UINT32_MAX },
    [MQTT_PROP_WILDCARD_AVAILABLE] =          { KIND_U8,     14, MQTT_PLACE_CONNACK, 0, 1 },
    [MQTT_PROP_SUBSCRIPTION_IDS_AVAILABLE] =  { KIND_U8,     15, MQTT_PLACE_CONNACK, 0, 1 },
    [MQTT_PROP_SHARED_AVAILABLE] =            { KIND_U8,     16, MQTT_PLACE_CONNACK, 0, 1 },
};
/* clang-format on */

void mqtt_props_init(struct mqtt_props *props)
{
    props->present = 0;
    props->n_user = 0;
    props->n_subscription_ids = 0;
    props->raw = SL_BYTES_NONE;
    props->user = NULL;
    props->subscription_ids = NULL;
}

static bool is_number(enum mqtt_prop id)
{
    return rows[id].kind >= KIND_U8 && rows[id].kind <= KIND_VARINT;
}

static bool is_string(enum mqtt_prop id)
{
    return rows[id].kind == KIND_STRING || rows[id].kind == KIND_BINARY;
}

uint32_t mqtt_props_number(const struct mqtt_props *props, enum mqtt_prop id, uint32_t otherwise)
{
    SL_ASSERT(is_number(id));
    return mqtt_props_has(props, id) ? props->numbers[rows[id].slot] : otherwise;
}

struct sl_bytes mqtt_props_string(const struct mqtt_props *props, enum mqtt_prop id)
{
    SL_ASSERT(is_string(id));
    return mqtt_props_has(props, id) ? props->strings[rows[id].slot] : SL_BYTES_NONE;
}

void mqtt_props_set_number(struct mqtt_props *props, enum mqtt_prop id, uint32_t value)
{
    SL_ASSERT(is_number(id));
    props->present |= UINT64_C(1) << id;
    props->numbers[rows[id].slot] = value;
}

void mqtt_props_set_string(struct mqtt_props *props, enum mqtt_prop id, struct sl_bytes value)
{
    SL_ASSERT(is_string(id));
    props->present |= UINT64_C(1) << id;
    props->strings[rows[id].slot] = value;
}

void mqtt_props_set_user(struct mqtt_props *props, const struct message_header *user, uint32_t n)
{
    props->present |= (uint64_t)(n > 0) << MQTT_PROP_USER;
    props->user = user;
    props->n_user = n;
}

void mqtt_props_set_subscription_ids(struct mqtt_props *props, const uint32_t *ids, uint32_t n)
{
    props->present |= (uint64_t)(n > 0) << MQTT_PROP_SUBSCRIPTION_ID;
    props->subscription_ids = ids;
    props->n_subscription_ids = n;
}

/* ---- decoding ---- */

static uint32_t read_number(struct sl_reader *r, enum kind kind)
{
    switch (kind) {
    case KIND_U8:
        return sl_rd_u8(r);
    case KIND_U16:
        return sl_rd_u16be(r);
    case KIND_U32:
        return sl_rd_u32be(r);
    case KIND_VARINT:
        return mqtt_rd_varint(r, true);
    case KIND_NONE:
    case KIND_STRING:
    case KIND_BINARY:
    case KIND_PAIR:
        break;
    }
    return 0;
}

static int read_value(struct mqtt_frame *f, struct sl_reader *r, enum mqtt_prop id,
                      struct mqtt_props *out)
{
    const struct row *row = &rows[id];
    if (row->kind == KIND_PAIR) {
        (void)mqtt_rd_string(r);
        (void)mqtt_rd_string(r);
        out->n_user++;
        return SL_OK;
    }
    if (is_string(id)) {
        out->strings[row->slot] = row->kind == KIND_STRING ? mqtt_rd_string(r) : mqtt_rd_binary(r);
        return SL_OK;
    }
    uint32_t value = read_number(r, row->kind);
    if (!r->bad && (value < row->least || value > row->most))
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "property_value");
    out->numbers[row->slot] = value;
    if (id == MQTT_PROP_SUBSCRIPTION_ID)
        out->n_subscription_ids++;
    return SL_OK;
}

static bool may_repeat(enum mqtt_prop id, enum mqtt_place place)
{
    return id == MQTT_PROP_USER ||
           (id == MQTT_PROP_SUBSCRIPTION_ID && place == MQTT_PLACE_PUBLISH_DOWN);
}

/* An identifier is a variable byte integer, but all that exist are one byte. */
static int read_one(struct mqtt_frame *f, struct sl_reader *r, enum mqtt_place place,
                    struct mqtt_props *out)
{
    uint8_t id = sl_rd_u8(r);
    /* It belongs to PUBLISH, but only a server may say it [MQTT-3.3.4-6]. */
    bool only_down = id == MQTT_PROP_SUBSCRIPTION_ID && place == MQTT_PLACE_PUBLISH_UP;
    if (id >= MQTT_PROP_END || (!only_down && (rows[id].places & (unsigned)place) == 0))
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "property_not_allowed");
    if (mqtt_props_has(out, id) && !may_repeat(id, place))
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "property_repeated");
    out->present |= UINT64_C(1) << id;
    if (read_value(f, r, id, out) != SL_OK)
        return SL_EPEER;
    if (only_down && !r->bad)
        return mqtt_fault(f, MQTT_PROTOCOL_ERROR, "property_not_allowed");
    return SL_OK;
}

int mqtt_rd_props(struct mqtt_frame *f, struct sl_reader *r, enum mqtt_place place,
                  struct mqtt_props *out)
{
    mqtt_props_init(out);
    if (f->version != MQTT_V5)
        return SL_OK;
    out->raw = sl_rd_bytes(r, mqtt_rd_varint(r, true));
    if (r->bad)
        return mqtt_fault(f, MQTT_MALFORMED_PACKET, "property_length");
    struct sl_reader block = sl_reader_of(out->raw);
    while (sl_reader_left(&block) > 0) {
        if (read_one(f, &block, place, out) != SL_OK)
            return SL_EPEER;
        if (block.bad)
            return mqtt_fault(f, MQTT_MALFORMED_PACKET, "malformed_property");
    }
    return SL_OK;
}

/* Steps over a value that was checked when the set was decoded. */
static void skip_value(struct sl_reader *r, enum kind kind)
{
    if (kind == KIND_STRING || kind == KIND_BINARY)
        (void)mqtt_rd_binary(r);
    else
        (void)read_number(r, kind);
}

/* Moves to the next property `wanted`; the reader then stands on its value. */
static bool seek(struct sl_reader *r, enum mqtt_prop wanted)
{
    while (!r->bad && sl_reader_left(r) > 0) {
        uint8_t id = sl_rd_u8(r);
        if (id == wanted)
            return true;
        if (id == MQTT_PROP_USER)
            (void)mqtt_rd_binary(r);
        skip_value(r, id == MQTT_PROP_USER ? KIND_BINARY : rows[id].kind);
    }
    return false;
}

static struct sl_reader reader_at(const struct mqtt_props *props, size_t pos)
{
    return sl_reader_of(
        sl_bytes_of(props->raw.n == 0 ? NULL : props->raw.p + pos, props->raw.n - pos));
}

bool mqtt_props_next_user(const struct mqtt_props *props, size_t *pos, struct message_header *out)
{
    struct sl_reader r = reader_at(props, *pos);
    if (!seek(&r, MQTT_PROP_USER))
        return false;
    out->name = mqtt_rd_binary(&r);
    out->value = mqtt_rd_binary(&r);
    *pos = props->raw.n - sl_reader_left(&r);
    return true;
}

bool mqtt_props_next_subscription_id(const struct mqtt_props *props, size_t *pos, uint32_t *out)
{
    struct sl_reader r = reader_at(props, *pos);
    if (!seek(&r, MQTT_PROP_SUBSCRIPTION_ID))
        return false;
    *out = mqtt_rd_varint(&r, true);
    *pos = props->raw.n - sl_reader_left(&r);
    return true;
}

/* ---- encoding ---- */

static void put_number(struct mqtt_writer *w, enum kind kind, uint32_t value)
{
    switch (kind) {
    case KIND_U8:
        mqtt_put_u8(w, (uint8_t)value);
        break;
    case KIND_U16:
        mqtt_put_u16(w, (uint16_t)value);
        break;
    case KIND_U32:
        mqtt_put_u32(w, value);
        break;
    case KIND_VARINT:
        mqtt_put_varint(w, value);
        break;
    case KIND_NONE:
    case KIND_STRING:
    case KIND_BINARY:
    case KIND_PAIR:
        break;
    }
}

static void put_repeated(struct mqtt_writer *w, const struct mqtt_props *props)
{
    for (uint32_t i = 0; i < props->n_user && props->user != NULL; i++) {
        mqtt_put_u8(w, MQTT_PROP_USER);
        mqtt_put_binary(w, props->user[i].name);
        mqtt_put_binary(w, props->user[i].value);
    }
    for (uint32_t i = 0; i < props->n_subscription_ids && props->subscription_ids != NULL; i++) {
        mqtt_put_u8(w, MQTT_PROP_SUBSCRIPTION_ID);
        mqtt_put_varint(w, props->subscription_ids[i]);
    }
}

static void put_single(struct mqtt_writer *w, const struct mqtt_props *props)
{
    uint64_t left = props->present & ~(UINT64_C(1) << MQTT_PROP_USER);
    if (props->subscription_ids != NULL)
        left &= ~(UINT64_C(1) << MQTT_PROP_SUBSCRIPTION_ID);
    for (unsigned id = 1; id < MQTT_PROP_END; id++) {
        if ((left >> id & 1) == 0)
            continue;
        mqtt_put_u8(w, (uint8_t)id);
        if (is_string(id))
            mqtt_put_binary(w, props->strings[rows[id].slot]);
        else
            put_number(w, rows[id].kind, props->numbers[rows[id].slot]);
    }
}

void mqtt_put_props(struct mqtt_writer *w, const struct mqtt_props *props)
{
    struct mqtt_writer count = { NULL, 0, false };
    if (props != NULL) {
        put_single(&count, props);
        put_repeated(&count, props);
    }
    w->bad |= count.bad;
    mqtt_put_varint(w, (uint32_t)(count.n > MQTT_VARINT_MAX ? MQTT_VARINT_MAX : count.n));
    w->bad |= count.n > MQTT_VARINT_MAX;
    if (props != NULL) {
        put_single(w, props);
        put_repeated(w, props);
    }
}
