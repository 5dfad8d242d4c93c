/* The table of keys: everything that is known about a key is in its one row.
 * Parsing, defaults, faults, suggestions, the reference and the schema all
 * read it. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/bytes.h"

/* What is written, and what the field at `at` is. */
enum config_type {
    KEY_OBJECT,      /* keys below it; no field */
    KEY_MAP,         /* objects by name; an array of structs that start with the name */
    KEY_LIST,        /* objects; an array of structs */
    KEY_STRING,      /* const char * */
    KEY_PATH,        /* const char *, resolved against the configuration's folder */
    KEY_BOOL,        /* bool */
    KEY_TRI,         /* enum config_tri */
    KEY_COUNT,       /* uint64_t */
    KEY_INT,         /* int */
    KEY_REAL,        /* double */
    KEY_DURATION,    /* uint64_t, ms */
    KEY_DURATION_US, /* uint64_t, µs */
    KEY_SIZE,        /* uint64_t, bytes */
    KEY_CHOICE,      /* an enum in the order of `choices` */
    KEY_STRINGS,     /* struct config_strings; one text or a list */
    KEY_ENV,         /* struct config_strings of "NAME=value"; an object of texts */
    KEY_HEADERS,     /* struct config_strings of name, value, …; an object of texts or of lists of texts */
    KEY_WORKERS,     /* two uint64_t; a number or {min, max} */
    KEY_FILE_MODE,   /* uint32_t; "0600" */
    KEY_RESERVED,    /* nothing: only the default may be written */
};

enum {
    KEY_REQUIRED = 1, /* has no default */
    KEY_NULLABLE = 2, /* null: NULL or CONFIG_UNSET */
    KEY_NONEMPTY = 4, /* KEY_STRINGS: at least one */
    KEY_LATER = 8,    /* not in this version: only the default is taken */
};

struct config_key {
    const char *path; /* as in faults, with * for a name and [] for an item */
    enum config_type type;
    unsigned flags;
    size_t at;                  /* in the struct of the innermost collection */
    size_t n_at, size;          /* KEY_MAP, KEY_LIST: where the count is; sizeof an element */
    double min, max;            /* numbers, durations, sizes; equal: no range */
    const char *const *choices; /* ends in NULL */
    unsigned later; /* bit n: choice n (KEY_TRI: of enum config_tri) is not in this version */
    bool (*check)(struct sl_bytes text); /* KEY_STRING(S): further condition */
    const char *allowed;                 /* what `check` allows, for people */
    const char *def;                     /* JSON */
    const char *example;                 /* JSON, in the reference; a KEY_MAP's: a name */
    const char *doc;
};

/* The rows, parents before children, children together. */
const struct config_key *config_keys(size_t *n);
/* "queues.*" + "ttl"; scope "" is the top. NULL when there is no such key. */
const struct config_key *config_key_find(const char *scope, struct sl_bytes name);
/* The part after the last dot. */
const char *config_key_name(const struct config_key *key);
/* True for "queues.*.ttl" in the scope "queues.*", not for what is deeper. */
bool config_key_is_in(const struct config_key *key, const char *scope);
/* "queues.*" for the row "queues"; a KEY_OBJECT's own path. Returns out. */
const char *config_key_scope(const struct config_key *key, char *out, size_t cap);
/* "a duration such as \"30s\", from 1ms to 1h": what may be written. */
const char *config_key_allowed(const struct config_key *key, char *out, size_t cap);

/* What config_is_name (rules.h) allows. */
#define CONFIG_NAME_ALLOWED "1 to 64 of A-Z a-z 0-9 . _ -"

/* What config_bind_parse (check.h) allows. */
#define CONFIG_BIND_ALLOWED "ADDRESS:PORT, [IPv6]:PORT, *:PORT, localhost:PORT or unix:PATH"

/* The nearest key in the scope when it is near enough to be a slip, or NULL. */
const char *config_suggest(const char *scope, struct sl_bytes name);

#endif
