/* Whether the directory `store` holds data that this program may open.
 *
 * LMDB maps its file and believes it: a file that is shorter than its own page
 * count kills the process at the first missing page, an empty one is taken for
 * a new store, and one of another page or word size is misread. So the two
 * meta pages are looked at first, read-only, and every refusal leaves all as
 * it is. Then the trees and the format's number are checked through LMDB. */
#include "lmdb_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"

/* LMDB's own bytes, as 64-bit machines write them; FORMAT.md names the fields. */
#define PAGE_HEADER 16u
#define META_BYTES 152u
#define AT_FLAGS 10u
#define AT_MAGIC (PAGE_HEADER + 0u)
#define AT_VERSION (PAGE_HEADER + 4u)
#define AT_PAGE_SIZE (PAGE_HEADER + 24u)
#define AT_LAST_PAGE (PAGE_HEADER + 120u)
#define AT_TXN (PAGE_HEADER + 128u)
#define AT_MAGIC_32BIT 12u
#define FLAG_META 0x08u
#define MAGIC 0xBEEFC0DEu
#define MAGIC_SWAPPED 0xDEC0EFBEu
#define DATA_VERSION 1u

struct meta_page {
    uint32_t magic, version, page_bytes;
    uint16_t flags;
    uint64_t last_page, txn;
};

/* Native order: the file is the machine's own. */
#define FIELD(type, raw, at, out)                                                                  \
    do {                                                                                           \
        type v_;                                                                                   \
        memcpy(&v_, (raw) + (at), sizeof v_);                                                      \
        (out) = v_;                                                                                \
    } while (0)

static void meta_parse(const uint8_t raw[META_BYTES], struct meta_page *m)
{
    FIELD(uint32_t, raw, AT_MAGIC, m->magic);
    FIELD(uint32_t, raw, AT_VERSION, m->version);
    FIELD(uint32_t, raw, AT_PAGE_SIZE, m->page_bytes);
    FIELD(uint16_t, raw, AT_FLAGS, m->flags);
    FIELD(uint64_t, raw, AT_LAST_PAGE, m->last_page);
    FIELD(uint64_t, raw, AT_TXN, m->txn);
}

static bool meta_is_good(const struct meta_page *m)
{
    return m->magic == MAGIC && (m->flags & FLAG_META) != 0 && m->version == DATA_VERSION;
}

static int explain_first_page(const uint8_t raw[META_BYTES], const struct meta_page *m, const char *file, struct sl_buf *why)
{
    uint32_t magic_32bit;
    FIELD(uint32_t, raw, AT_MAGIC_32BIT, magic_32bit);
    if (m->magic == MAGIC_SWAPPED)
        return store_because(why, SL_EFORMAT, "%s was written by a machine of another byte order; move data with a portable backup", file);
    if (magic_32bit == MAGIC)
        return store_because(why, SL_EFORMAT, "%s was written by a 32-bit machine; move data with a portable backup", file);
    if (m->magic == MAGIC && m->version != DATA_VERSION)
        return store_because(why, SL_EFORMAT, "%s has the unknown LMDB version %" PRIu32, file, m->version);
    return store_because(why, SL_EFORMAT, "%s is damaged or is not a sluice store: its first page is not one of LMDB", file);
}

static int look_at_file(int fd, const char *file, uint64_t size, struct sl_buf *why)
{
    uint8_t raw[META_BYTES];
    struct meta_page first, second;
    uint32_t page_bytes = (uint32_t)sysconf(_SC_PAGESIZE);
    if (pread(fd, raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        return store_because(why, SL_EFORMAT, "%s is damaged: it ends after %" PRIu64 " bytes", file, size);
    meta_parse(raw, &first);
    if (!meta_is_good(&first))
        return explain_first_page(raw, &first, file, why);
    if (first.page_bytes != page_bytes)
        return store_because(why, SL_EFORMAT, "%s has pages of %" PRIu32 " bytes, this machine has %" PRIu32 "; move data with a portable backup",
                             file, first.page_bytes, page_bytes);
    if (pread(fd, raw, sizeof raw, (off_t)page_bytes) != (ssize_t)sizeof raw)
        return store_because(why, SL_EFORMAT, "%s is damaged: it ends after %" PRIu64 " bytes", file, size);
    meta_parse(raw, &second);
    if (!meta_is_good(&second) || second.page_bytes != page_bytes)
        return store_because(why, SL_EFORMAT, "%s is damaged: its second page is not one of LMDB", file);
    const struct meta_page *newest = second.txn > first.txn ? &second : &first;
    if (newest->last_page >= size / page_bytes)
        return store_because(why, SL_EFORMAT, "%s is cut short: it has %" PRIu64 " bytes, but pages up to number %" PRIu64, file, size,
                             newest->last_page);
    return SL_OK;
}

int lmdb_format_look(const char *path, struct sl_buf *why)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? SL_ENOENT : store_because(why, SL_ESYS, "cannot look at %s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return store_because(why, SL_EFORMAT, "%s is not a directory, so it is not a sluice store", path);
    char file[PATH_MAX];
    if (snprintf(file, sizeof file, "%s/data.mdb", path) >= (int)sizeof file)
        return store_because(why, SL_ESYS, "the data directory's path is too long");
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? store_because(why, SL_EFORMAT, "%s has no data.mdb: the store was removed or is not one of sluice", path)
                               : store_because(why, SL_ESYS, "cannot open %s: %s", file, strerror(errno));
    int err = fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ? store_because(why, SL_EFORMAT, "%s is not a regular file", file)
                                                          : look_at_file(fd, file, (uint64_t)st.st_size, why);
    close(fd);
    return err;
}

/* ---- trees and format number ---- */

static int find_trees(struct lmdb_store *l, MDB_txn *txn, size_t from, size_t to, struct sl_buf *why)
{
    for (size_t i = from; i < to; i++) {
        int rc = mdb_dbi_open(txn, lmdb_trees[i].name, lmdb_trees[i].flags, &l->tree[i]);
        if (rc == MDB_NOTFOUND || rc == MDB_INCOMPATIBLE)
            return store_because(why, SL_EFORMAT, "the LMDB file is damaged or is not a sluice store: it has no tree \"%s\"", lmdb_trees[i].name);
        if (rc != 0)
            return store_because(why, SL_EFORMAT, "the LMDB file is damaged: tree \"%s\": %s", lmdb_trees[i].name, mdb_strerror(rc));
    }
    return SL_OK;
}

/* Each major has the trees of those before it. */
static size_t trees_of(uint32_t major)
{
    if (major < 3)
        return TREE_SUBSCRIPTIONS;
    return major < 4 ? TREE_QUEUE_RECORDS : LMDB_NTREES;
}

static int read_hash_key(struct lmdb_store *l, MDB_txn *txn, struct sl_buf *why)
{
    MDB_val key = { 4, "hash" }, value;
    int rc = mdb_get(txn, l->tree[TREE_META], &key, &value);
    if (rc != 0 || value.mv_size != 16)
        return store_because(why, SL_EFORMAT, "the store is damaged: it has no hash key");
    struct sl_reader r = sl_reader_of(lmdb_bytes(value));
    l->front->hash_key.k0 = sl_rd_u64le(&r);
    l->front->hash_key.k1 = sl_rd_u64le(&r);
    return SL_OK;
}

static int check_number(struct lmdb_store *l, MDB_txn *txn, struct sl_buf *why)
{
    MDB_val key = { 6, "format" }, value;
    int rc = mdb_get(txn, l->tree[TREE_META], &key, &value);
    if (rc != 0 || value.mv_size != 8)
        return store_because(why, SL_EFORMAT, "the store is damaged: it does not tell its format");
    struct sl_reader r = sl_reader_of(lmdb_bytes(value));
    l->format_major = sl_rd_u32le(&r);
    l->format_minor = sl_rd_u32le(&r);
    if (l->format_major > LMDB_FORMAT_MAJOR)
        return store_because(why, SL_EFORMAT, "the store has format %" PRIu32 ".%" PRIu32 ", written by a newer sluice; this one reads up to %u.x",
                             l->format_major, l->format_minor, LMDB_FORMAT_MAJOR);
    /* Major 1 is the first. Its records are read as they are; lmdb_format_upgrade counts it up. */
    if (l->format_major < 1)
        return store_because(why, SL_EFORMAT, "the store has format %" PRIu32 ".%" PRIu32 ", which no sluice has written", l->format_major,
                             l->format_minor);
    return SL_OK;
}

int lmdb_format_check(struct lmdb_store *l, struct sl_buf *why)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return store_because(why, lmdb_error(rc, "begin"), "cannot read the store: %s", mdb_strerror(rc));
    int err = find_trees(l, txn, 0, trees_of(1), why);
    if (err == SL_OK)
        err = check_number(l, txn, why);
    if (err == SL_OK) /* lmdb_format_upgrade makes the others */
        err = find_trees(l, txn, trees_of(1), trees_of(l->format_major), why);
    if (err == SL_OK && l->format_major >= LMDB_FORMAT_MAJOR)
        err = read_hash_key(l, txn, why);
    if (err != SL_OK) {
        mdb_txn_abort(txn);
        return err;
    }
    return lmdb_error(mdb_txn_commit(txn), "open the trees"); /* keeps the handles */
}

static int put_meta(struct lmdb_store *l, MDB_txn *txn, const char *name, struct sl_bytes value)
{
    MDB_val key = { strlen(name), (void *)(uintptr_t)name };
    MDB_val v = { value.n, (void *)(uintptr_t)value.p };
    return mdb_put(txn, l->tree[TREE_META], &key, &v, 0);
}

static int put_number(struct lmdb_store *l, MDB_txn *txn)
{
    uint8_t format[8];
    sl_wr_u32le(sl_wr_u32le(format, LMDB_FORMAT_MAJOR), LMDB_FORMAT_MINOR);
    return put_meta(l, txn, "format", sl_bytes_of(format, sizeof format));
}

static int put_hash_key(struct lmdb_store *l, MDB_txn *txn, const struct sl_hash_key *key)
{
    uint8_t raw[16];
    sl_wr_u64le(sl_wr_u64le(raw, key->k0), key->k1);
    return put_meta(l, txn, "hash", sl_bytes_of(raw, sizeof raw));
}

static int make_trees(struct lmdb_store *l, MDB_txn *txn, size_t from)
{
    int rc = 0;
    for (size_t i = from; i < LMDB_NTREES && rc == 0; i++)
        rc = mdb_dbi_open(txn, lmdb_trees[i].name, lmdb_trees[i].flags | MDB_CREATE, &l->tree[i]);
    return rc;
}

int lmdb_format_upgrade(struct lmdb_store *l, MDB_txn *txn)
{
    if (l->format_major >= LMDB_FORMAT_MAJOR)
        return 0;
    int rc = make_trees(l, txn, trees_of(l->format_major));
    if (rc == 0)
        rc = store_draw_hash_key(&l->front->hash_key) == SL_OK ? put_hash_key(l, txn, &l->front->hash_key) : EIO;
    if (rc != 0)
        return rc;
    sl_log(SL_INFO, "store_upgraded", "from=%" PRIu32 ".%" PRIu32 " to=%u.%u", l->format_major, l->format_minor, LMDB_FORMAT_MAJOR,
           LMDB_FORMAT_MINOR);
    l->format_major = LMDB_FORMAT_MAJOR;
    l->format_minor = LMDB_FORMAT_MINOR;
    return put_number(l, txn);
}

int lmdb_format_create(struct lmdb_store *l, const char *node)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->env, NULL, 0, &txn);
    if (rc != 0)
        return lmdb_error(rc, "begin");
    rc = make_trees(l, txn, 0);
    uint8_t boot[8];
    struct sl_hash_key hash;
    sl_wr_u64le(boot, 0);
    if (rc == 0)
        rc = put_number(l, txn);
    if (rc == 0)
        rc = put_meta(l, txn, "boot", sl_bytes_of(boot, sizeof boot));
    if (rc == 0)
        rc = put_meta(l, txn, "node", sl_str(node == NULL ? "" : node));
    if (rc == 0)
        rc = store_draw_hash_key(&hash) == SL_OK ? put_hash_key(l, txn, &hash) : EIO;
    if (rc != 0) {
        mdb_txn_abort(txn);
        return lmdb_error(rc, "create the store");
    }
    return lmdb_error(mdb_txn_commit(txn), "create the store");
}
