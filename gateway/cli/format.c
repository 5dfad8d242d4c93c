/* The pattern of --format. */
#include "format.h"

#include <stdio.h>
#include <time.h>

#include "core/utf8.h"

static void add(struct sl_buf *out, struct sl_bytes v)
{
    (void)!sl_buf_append_bytes(out, v); /* no maximum is set */
}

static void add_number(struct sl_buf *out, uint64_t v)
{
    (void)!sl_buf_printf(out, "%llu", (unsigned long long)v);
}

static void add_hex(struct sl_buf *out, struct sl_bytes v)
{
    for (size_t i = 0; i < v.n; i++)
        (void)!sl_buf_printf(out, "%02x", v.p[i]);
}

static void add_time(struct sl_buf *out, uint64_t now_us)
{
    char text[32];
    struct tm tm;
    time_t s = (time_t)(now_us / 1000000);
    gmtime_r(&s, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)!sl_buf_printf(out, "%s.%03uZ", text, (unsigned)(now_us / 1000 % 1000));
}

static void add_headers(struct sl_buf *out, const MQTTProperties *all)
{
    const char *between = "";
    for (int i = 0; i < all->count; i++) {
        const MQTTProperty *p = &all->array[i];
        if (p->identifier != MQTTPROPERTY_CODE_USER_PROPERTY)
            continue;
        add(out, sl_str(between));
        add(out, cli_len_string(p->value.data));
        add(out, sl_str("="));
        add(out, cli_len_string(p->value.value));
        between = " ";
    }
}

static void add_ids(struct sl_buf *out, const MQTTProperties *all)
{
    const char *between = "";
    for (int i = 0; i < all->count; i++) {
        const MQTTProperty *p = &all->array[i];
        if (p->identifier != MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER)
            continue;
        add(out, sl_str(between));
        add_number(out, p->value.integer4);
        between = ",";
    }
}

static void add_property(struct sl_buf *out, char letter, const struct cli_message *m)
{
    const MQTTProperty *p;
    switch (letter) {
    case 'C':
        add(out, cli_property_bytes(m->properties, MQTTPROPERTY_CODE_CONTENT_TYPE));
        break;
    case 'D':
        add(out, cli_property_bytes(m->properties, MQTTPROPERTY_CODE_CORRELATION_DATA));
        break;
    case 'R':
        add(out, cli_property_bytes(m->properties, MQTTPROPERTY_CODE_RESPONSE_TOPIC));
        break;
    case 'E':
        if ((p = cli_property(m->properties, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL)) != NULL)
            add_number(out, p->value.integer4);
        break;
    case 'F':
        if ((p = cli_property(m->properties, MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR)) != NULL)
            add_number(out, p->value.byte);
        break;
    case 'P':
        add_headers(out, m->properties);
        break;
    default:
        add_ids(out, m->properties);
    }
}

static void add_letter(struct sl_buf *out, char letter, const struct cli_message *m, uint64_t now_us)
{
    switch (letter) {
    case '%':
        add(out, sl_str("%"));
        break;
    case 't':
        add(out, m->topic);
        break;
    case 'p':
        add(out, m->payload);
        break;
    case 'x':
        add_hex(out, m->payload);
        break;
    case 'q':
        add_number(out, (uint64_t)m->qos);
        break;
    case 'r':
        add_number(out, m->retain);
        break;
    case 'd':
        add_number(out, m->dup);
        break;
    case 'l':
        add_number(out, m->payload.n);
        break;
    case 'm':
        add_number(out, (uint64_t)m->packet_id);
        break;
    case 'I':
        add_time(out, now_us);
        break;
    case 'U':
        (void)!sl_buf_printf(out, "%llu.%06u", (unsigned long long)(now_us / 1000000), (unsigned)(now_us % 1000000));
        break;
    case 'j':
        cli_format_json(out, m, now_us);
        break;
    default:
        add_property(out, letter, m);
    }
}

static char escaped(char c)
{
    static const char from[] = "ntr0ae\\", to[] = "\n\t\r\0\a\033\\";
    const char *at = c == '\0' ? NULL : strchr(from, c);
    return at == NULL ? c : to[at - from];
}

void cli_format_line(struct sl_buf *out, const char *pattern, const struct cli_message *m, uint64_t now_us)
{
    for (const char *at = pattern; *at != '\0'; at++) {
        if (*at == '%') {
            add_letter(out, *++at, m, now_us);
        } else if (*at == '\\' && at[1] != '\0') {
            char c = escaped(*++at);
            add(out, sl_bytes_of(&c, 1));
        } else {
            add(out, sl_bytes_of(at, 1));
        }
    }
}

/* U+0080 to U+009F are controls, too: C2 80 to C2 9F. */
static bool is_control(const struct sl_bytes *in, size_t i)
{
    const uint8_t *p = in->p + i;
    if (*p == 0xc2)
        return i + 1 < in->n && p[1] < 0xa0;
    return (*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f || (i > 0 && p[-1] == 0xc2 && *p < 0xa0);
}

void cli_format_tame(struct sl_buf *out, struct sl_bytes in)
{
    bool text = sl_utf8_valid(in);
    for (size_t i = 0; i < in.n; i++) {
        if (is_control(&in, i) || (in.p[i] >= 0x80 && !text))
            (void)!sl_buf_printf(out, "\\x%02x", in.p[i]);
        else
            add(out, sl_bytes_of(in.p + i, 1));
    }
}
