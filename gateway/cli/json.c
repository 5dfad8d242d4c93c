/* One message as one line of JSON. */
#include <cjson/cJSON.h>
#include <openssl/evp.h>

#include "core/alloc.h"
#include "core/utf8.h"
#include "format.h"

static void must(bool done)
{
    SL_ASSERT(done); /* cJSON is out of memory */
}

static char *text_of(struct sl_bytes v)
{
    char *s = sl_alloc(v.n + 1);
    if (v.n > 0)
        memcpy(s, v.p, v.n);
    s[v.n] = '\0';
    return s;
}

static cJSON *string_of(struct sl_bytes v)
{
    char *s = text_of(v);
    cJSON *item = cJSON_CreateString(s);
    must(item != NULL);
    sl_free(s);
    return item;
}

/* cJSON's strings end at NUL and its writer trusts them to be UTF-8: all else is base64 beside it. */
static void put(cJSON *to, const char *key, const char *key_base64, struct sl_bytes v)
{
    if (sl_utf8_valid(v)) {
        must(cJSON_AddItemToObject(to, key, string_of(v)));
        return;
    }
    uint8_t *s = sl_alloc((v.n + 2) / 3 * 4 + 1);
    (void)EVP_EncodeBlock(s, v.p, (int)v.n);
    must(cJSON_AddStringToObject(to, key_base64, (const char *)s) != NULL);
    sl_free(s);
}

static cJSON *list_in(cJSON *to, const char *key)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(to, key);
    if (list == NULL)
        must((list = cJSON_AddArrayToObject(to, key)) != NULL);
    return list;
}

static void put_header(cJSON *to, const MQTTProperty *p)
{
    cJSON *pair = cJSON_CreateArray();
    must(pair != NULL && cJSON_AddItemToArray(pair, string_of(cli_len_string(p->value.data))) &&
         cJSON_AddItemToArray(pair, string_of(cli_len_string(p->value.value))) &&
         cJSON_AddItemToArray(list_in(to, "headers"), pair));
}

static void put_property(cJSON *to, const MQTTProperty *p)
{
    if (p->identifier == MQTTPROPERTY_CODE_USER_PROPERTY)
        put_header(to, p);
    else if (p->identifier == MQTTPROPERTY_CODE_CONTENT_TYPE)
        put(to, "content_type", "content_type_base64", cli_len_string(p->value.data));
    else if (p->identifier == MQTTPROPERTY_CODE_RESPONSE_TOPIC)
        put(to, "reply_to", "reply_to_base64", cli_len_string(p->value.data));
    else if (p->identifier == MQTTPROPERTY_CODE_CORRELATION_DATA)
        put(to, "correlation", "correlation_base64", cli_len_string(p->value.data));
    else if (p->identifier == MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL)
        must(cJSON_AddNumberToObject(to, "expiry", p->value.integer4) != NULL);
    else if (p->identifier == MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR)
        must(cJSON_AddBoolToObject(to, "utf8", p->value.byte == 1) != NULL);
    else if (p->identifier == MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER)
        must(cJSON_AddItemToArray(list_in(to, "subscription_ids"), cJSON_CreateNumber(p->value.integer4)));
}

static void put_time(cJSON *to, uint64_t now_us)
{
    struct sl_buf text = { 0 };
    cli_format_line(&text, "%I", &(struct cli_message){ 0 }, now_us);
    put(to, "received_at", "", sl_buf_view(&text));
    sl_buf_fini(&text);
}

void cli_format_json(struct sl_buf *out, const struct cli_message *m, uint64_t now_us)
{
    cJSON *o = cJSON_CreateObject();
    must(o != NULL);
    put_time(o, now_us);
    put(o, "topic", "topic_base64", m->topic);
    must(cJSON_AddNumberToObject(o, "qos", m->qos) != NULL && cJSON_AddBoolToObject(o, "retain", m->retain) != NULL &&
         cJSON_AddBoolToObject(o, "dup", m->dup) != NULL);
    for (int i = 0; i < m->properties->count; i++)
        put_property(o, &m->properties->array[i]);
    put(o, "payload", "payload_base64", m->payload);
    char *text = cJSON_PrintUnformatted(o);
    must(text != NULL);
    (void)!sl_buf_append_bytes(out, sl_str(text));
    cJSON_free(text);
    cJSON_Delete(o);
}
