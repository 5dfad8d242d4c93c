/* The JSON Schema, for editors: types, ranges, choices and descriptions of the
 * same table. It cannot say the conditions between keys. */
#include <cjson/cJSON.h>
#include <stdio.h>

#include "config/config.h"
#include "keys.h"

static cJSON *object_schema(const char *scope);

static void add_text(cJSON *to, const char *name, const char *text)
{
    cJSON *item = cJSON_AddStringToObject(to, name, text);
    SL_ASSERT(item != NULL);
}

/* "integer", or ["integer", "null"]. */
static void add_type(cJSON *to, const struct config_key *key, const char *type)
{
    if ((key->flags & KEY_NULLABLE) == 0) {
        add_text(to, "type", type);
        return;
    }
    cJSON *types = cJSON_AddArrayToObject(to, "type");
    cJSON_AddItemToArray(types, cJSON_CreateString(type));
    cJSON_AddItemToArray(types, cJSON_CreateString("null"));
}

static void add_number(cJSON *to, const struct config_key *key, const char *type)
{
    add_type(to, key, type);
    if (key->min >= key->max)
        return;
    cJSON_AddNumberToObject(to, "minimum", key->min);
    cJSON_AddNumberToObject(to, "maximum", key->max);
}

static void add_choices(cJSON *to, const struct config_key *key)
{
    cJSON *choices = cJSON_AddArrayToObject(to, "enum");
    for (size_t i = 0; key->choices[i] != NULL; i++)
        if ((key->later >> i & 1) == 0)
            cJSON_AddItemToArray(choices, cJSON_CreateString(key->choices[i]));
}

/* null, false, true, without those of a later version. */
static void add_tri(cJSON *to, const struct config_key *key)
{
    cJSON *choices = cJSON_AddArrayToObject(to, "enum");
    for (unsigned value = CONFIG_INHERIT; value <= CONFIG_YES; value++)
        if ((key->later >> value & 1) == 0)
            cJSON_AddItemToArray(choices, value == CONFIG_INHERIT
                                              ? cJSON_CreateNull()
                                              : cJSON_CreateBool(value == CONFIG_YES));
}

static void add_pattern(cJSON *to, const struct config_key *key, const char *pattern)
{
    add_type(to, key, "string");
    add_text(to, "pattern", pattern);
}

/* A number of bytes, or a text with a unit. */
static void add_size(cJSON *to, const struct config_key *key)
{
    cJSON *types = cJSON_AddArrayToObject(to, "type");
    cJSON_AddItemToArray(types, cJSON_CreateString("string"));
    cJSON_AddItemToArray(types, cJSON_CreateString("integer"));
    if ((key->flags & KEY_NULLABLE) != 0)
        cJSON_AddItemToArray(types, cJSON_CreateString("null"));
    add_text(to, "pattern", "^[0-9]+(B|KiB|MiB|GiB|TiB)?$");
    cJSON_AddNumberToObject(to, "minimum", key->min);
    cJSON_AddNumberToObject(to, "maximum", key->max);
}

static void add_strings(cJSON *to, const struct config_key *key)
{
    cJSON *types = cJSON_AddArrayToObject(to, "type");
    cJSON_AddItemToArray(types, cJSON_CreateString("array"));
    cJSON_AddItemToArray(types, cJSON_CreateString("string"));
    if ((key->flags & KEY_NULLABLE) != 0)
        cJSON_AddItemToArray(types, cJSON_CreateString("null"));
    add_text(cJSON_AddObjectToObject(to, "items"), "type", "string");
    if ((key->flags & KEY_NONEMPTY) != 0)
        cJSON_AddNumberToObject(to, "minItems", 1);
}

static void add_env(cJSON *to)
{
    add_text(to, "type", "object");
    add_text(cJSON_AddObjectToObject(to, "propertyNames"), "pattern", "^[A-Za-z_][A-Za-z0-9_]*$");
    add_text(cJSON_AddObjectToObject(to, "additionalProperties"), "type", "string");
}

static void add_workers(cJSON *to, const struct config_key *key)
{
    cJSON *any = cJSON_AddArrayToObject(to, "anyOf");
    cJSON *number = cJSON_CreateObject(), *range = cJSON_CreateObject();
    add_number(number, key, "integer");
    add_text(range, "type", "object");
    cJSON *members = cJSON_AddObjectToObject(range, "properties");
    struct config_key from_zero = *key;
    from_zero.min = 0;
    add_number(cJSON_AddObjectToObject(members, "min"), &from_zero, "integer");
    add_number(cJSON_AddObjectToObject(members, "max"), key, "integer");
    cJSON *required = cJSON_AddArrayToObject(range, "required");
    cJSON_AddItemToArray(required, cJSON_CreateString("min"));
    cJSON_AddItemToArray(required, cJSON_CreateString("max"));
    cJSON_AddBoolToObject(range, "additionalProperties", false);
    cJSON_AddItemToArray(any, number);
    cJSON_AddItemToArray(any, range);
}

static void add_elements(cJSON *to, const struct config_key *key)
{
    char scope[64];
    cJSON *element = object_schema(config_key_scope(key, scope, sizeof scope));
    add_text(to, "type", key->type == KEY_MAP ? "object" : "array");
    if (key->type == KEY_MAP)
        add_text(cJSON_AddObjectToObject(to, "propertyNames"), "pattern", "^[A-Za-z0-9._-]{1,64}$");
    cJSON_AddItemToObject(to, key->type == KEY_MAP ? "additionalProperties" : "items", element);
}

static void add_headers(cJSON *to)
{
    add_text(to, "type", "object");
    cJSON *value = cJSON_AddObjectToObject(to, "additionalProperties");
    cJSON *types = cJSON_AddArrayToObject(value, "type");
    cJSON_AddItemToArray(types, cJSON_CreateString("string"));
    cJSON_AddItemToArray(types, cJSON_CreateString("array"));
    add_text(cJSON_AddObjectToObject(value, "items"), "type", "string");
}

/* A flat switch: one line per type. */
static void add_by_type(cJSON *to, const struct config_key *key)
{
    switch (key->type) {
    case KEY_STRING:
    case KEY_PATH:
        add_type(to, key, "string");
        break;
    case KEY_BOOL:
        add_type(to, key, "boolean");
        break;
    case KEY_TRI:
        add_tri(to, key);
        break;
    case KEY_COUNT:
    case KEY_INT:
        add_number(to, key, "integer");
        break;
    case KEY_REAL:
        add_number(to, key, "number");
        break;
    case KEY_DURATION:
        add_pattern(to, key, "^(0|[0-9]+(ms|s|m|h|d))$");
        break;
    case KEY_DURATION_US:
        add_pattern(to, key, "^(0|[0-9]+(us|ms|s|m|h|d))$");
        break;
    case KEY_SIZE:
        add_size(to, key);
        break;
    case KEY_CHOICE:
        add_choices(to, key);
        break;
    case KEY_STRINGS:
        add_strings(to, key);
        break;
    case KEY_ENV:
        add_env(to);
        break;
    case KEY_HEADERS:
        add_headers(to);
        break;
    case KEY_WORKERS:
        add_workers(to, key);
        break;
    case KEY_FILE_MODE:
        add_pattern(to, key, "^0[0-7]{3}$");
        break;
    case KEY_MAP:
    case KEY_LIST:
        add_elements(to, key);
        break;
    case KEY_OBJECT:
    case KEY_RESERVED:
        break;
    }
}

static cJSON *default_of(const struct config_key *key)
{
    cJSON *value = cJSON_Parse(key->def);
    SL_ASSERT(value != NULL); /* the table is ours */
    return value;
}

static cJSON *key_schema(const struct config_key *key)
{
    bool later = (key->flags & KEY_LATER) != 0 || key->type == KEY_RESERVED;
    cJSON *schema = key->type == KEY_OBJECT ? object_schema(key->path) : cJSON_CreateObject();
    add_text(schema, "description", key->doc);
    if (later) /* not in this version: nothing but the default */
        cJSON_AddItemToObject(schema, "const", default_of(key));
    else
        add_by_type(schema, key);
    if (key->def != NULL)
        cJSON_AddItemToObject(schema, "default", default_of(key));
    return schema;
}

static cJSON *object_schema(const char *scope)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    cJSON *schema = cJSON_CreateObject(), *required = cJSON_CreateArray();
    add_text(schema, "type", "object");
    cJSON *members = cJSON_AddObjectToObject(schema, "properties");
    for (size_t i = 0; i < n; i++) {
        if (!config_key_is_in(&keys[i], scope))
            continue;
        cJSON_AddItemToObject(members, config_key_name(&keys[i]), key_schema(&keys[i]));
        if ((keys[i].flags & KEY_REQUIRED) != 0)
            cJSON_AddItemToArray(required, cJSON_CreateString(config_key_name(&keys[i])));
    }
    if (cJSON_GetArraySize(required) > 0)
        cJSON_AddItemToObject(schema, "required", required);
    else
        cJSON_Delete(required);
    cJSON_AddBoolToObject(schema, "additionalProperties", false);
    return schema;
}

void config_print_schema(struct sl_buf *out)
{
    cJSON *schema = object_schema("");
    add_text(schema, "$schema", "https://json-schema.org/draft/2020-12/schema");
    add_text(schema, "title", "sluice.json");
    char *text = cJSON_Print(schema);
    SL_ASSERT(text != NULL);
    int err = sl_buf_append_bytes(out, sl_str(text));
    if (err == SL_OK)
        err = sl_buf_append(out, "\n", 1);
    SL_ASSERT(err == SL_OK); /* the buffer is unlimited */
    cJSON_free(text);
    cJSON_Delete(schema);
}
