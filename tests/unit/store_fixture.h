/* A store of either engine in a directory of its own: each case runs on both. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <string.h>

#include "core/alloc.h"
#include "store_kit.h"

struct fixture {
    const char *engine;
    struct kit_dir dir;
    struct store *st;
    struct batch *b;
};

static inline int fixture_setup(void **state)
{
    struct fixture *f = *state;
    kit_dir_make(&f->dir);
    f->st = kit_open(f->engine, f->dir.path);
    f->b = batch_new();
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    batch_free(f->b);
    store_close(f->st);
    kit_dir_remove(&f->dir);
    return 0;
}

/* The disk's engine forgets nothing when it is opened again; memory has nothing to reopen. */
static inline void reopen(struct fixture *f)
{
    if (strcmp(f->engine, "memory") == 0)
        return;
    store_close(f->st);
    f->st = kit_open(f->engine, f->dir.path);
}

static inline void assert_content(struct fixture *f, const char *expected)
{
    char *content = kit_content(f->st);
    assert_string_equal(content, expected);
    sl_free(content);
}

/* NULL: the store has no such body. */
static inline struct message *fetch_one(struct fixture *f, uint64_t id)
{
    struct message *m = NULL;
    uint32_t entry = 0;
    struct batch_fetch fetch = { .n = 1, .ids = &id, .entries = &entry, .msgs = &m };
    store_fetch(f->st, &fetch);
    assert_int_equal(fetch.err, SL_OK);
    return m;
}

/* For a table of tests beside `struct fixture on_lmdb, on_memory`. */
#define CASE_OF(f, setup, fixture) { #f " (" fixture##_NAME ")", f, setup, fixture_teardown, &fixture }
#define BOTH_AFTER(setup, f) CASE_OF(f, setup, on_lmdb), CASE_OF(f, setup, on_memory)
#define BOTH(f) BOTH_AFTER(fixture_setup, f)
#define on_lmdb_NAME "lmdb"
#define on_memory_NAME "memory"

#endif
