/* The reference: every key with its default, one example in each collection.
 * Nests as deep as the table. */
#include <stdio.h>

#include "config/config.h"
#include "keys.h"

static void put(struct sl_buf *out, const char *text)
{
    int err = sl_buf_append_bytes(out, sl_str(text));
    SL_ASSERT(err == SL_OK); /* the buffer is unlimited */
}

static void indent(struct sl_buf *out, size_t depth)
{
    while (depth-- > 0)
        put(out, "  ");
}

static void put_comment(struct sl_buf *out, const struct config_key *key, size_t depth)
{
    char allowed[256];
    indent(out, depth);
    put(out, "// ");
    put(out, key->doc);
    if (key->type == KEY_OBJECT || key->type == KEY_MAP || key->type == KEY_LIST) {
        put(out, "\n");
        return;
    }
    bool later = (key->flags & KEY_LATER) != 0 || key->type == KEY_RESERVED;
    put(out, later ? " (not available in this version: must be " : " (");
    put(out, config_key_allowed(key, allowed, sizeof allowed));
    put(out, ")\n");
}

static void put_members(struct sl_buf *out, const char *scope, size_t depth);

static void put_braces(struct sl_buf *out, const char *scope, size_t depth)
{
    put(out, "{\n");
    put_members(out, scope, depth + 1);
    indent(out, depth);
    put(out, "}");
}

/* One element that shows all its keys. */
static void put_element(struct sl_buf *out, const struct config_key *key, size_t depth)
{
    char scope[64];
    bool map = key->type == KEY_MAP;
    put(out, map ? "{\n" : "[\n");
    indent(out, depth + 1);
    if (map) {
        put(out, "\"");
        put(out, key->example);
        put(out, "\": ");
    }
    put_braces(out, config_key_scope(key, scope, sizeof scope), depth + 1);
    put(out, "\n");
    indent(out, depth);
    put(out, map ? "}" : "]");
}

static void put_key(struct sl_buf *out, const struct config_key *key, size_t depth)
{
    put_comment(out, key, depth);
    indent(out, depth);
    put(out, "\"");
    put(out, config_key_name(key));
    put(out, "\": ");
    if (key->type == KEY_OBJECT)
        put_braces(out, key->path, depth);
    else if (key->type == KEY_MAP || key->type == KEY_LIST)
        put_element(out, key, depth);
    else
        put(out, key->example != NULL ? key->example : key->def);
}

static void put_members(struct sl_buf *out, const char *scope, size_t depth)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (!config_key_is_in(&keys[i], scope))
            continue;
        put(out, first ? "" : ",\n");
        put_key(out, &keys[i], depth);
        first = false;
    }
    put(out, "\n");
}

void config_print_reference(struct sl_buf *out)
{
    put(out, "// Every key with its default, and what it may be. Made from the table of keys by\n"
             "// sluice check --print-reference; start from sluice.json instead.\n");
    put_braces(out, "", 0);
    put(out, "\n");
}
