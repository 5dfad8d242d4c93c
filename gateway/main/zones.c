/* The zone database, read through the C library: with TZ set to a zone, localtime
 * tells the offset of any time, and where that changes is found by search. It
 * knows the rules for years to come as well, which the files hold in short. */
#include "zones.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"

#define DATABASE "/usr/share/zoneinfo"
#define FIRST_S  INT64_C(946684800)  /* 2000-01-01: nobody fires or makes up for anything before */
#define LAST_S   INT64_C(4133980800) /* 2101-01-01 */
#define STEP_S   INT64_C(86400)      /* an offset holds longer than that */
#define MAGIC    "TZif"

static const char *database(void)
{
    const char *dir = getenv("TZDIR");
    return dir != NULL && dir[0] == '/' ? dir : DATABASE;
}

/* Other files are in that folder too. */
bool zones_exists(const char *name)
{
    char path[512], magic[sizeof MAGIC - 1] = "";
    if (!schedule_is_zone_name(sl_str(name)))
        return false;
    (void)snprintf(path, sizeof path, "%s/%s", database(), name);
    FILE *f = fopen(path, "rbe");
    if (f == NULL)
        return false;
    size_t n = fread(magic, 1, sizeof magic, f);
    (void)fclose(f);
    return n == sizeof magic && memcmp(magic, MAGIC, n) == 0;
}

static int32_t offset_at(int64_t at_s)
{
    time_t t = (time_t)at_s;
    struct tm local;
    if (localtime_r(&t, &local) == NULL)
        return 0;
    return (int32_t)local.tm_gmtoff;
}

/* The first second with the offset that `after_s` has and `before_s` has not. */
static int64_t change_between(int64_t before_s, int64_t after_s)
{
    int32_t offset = offset_at(after_s);
    while (after_s - before_s > 1) {
        int64_t middle = before_s + (after_s - before_s) / 2;
        if (offset_at(middle) == offset)
            after_s = middle;
        else
            before_s = middle;
    }
    return after_s;
}

static struct schedule_zone *table_of_local_time(const char *name)
{
    struct schedule_zone *z = SL_NEW(struct schedule_zone);
    struct schedule_transition *v = NULL;
    int32_t offset = offset_at(FIRST_S);
    z->name = sl_strdup(name);
    z->offset_s = offset;
    for (int64_t at = FIRST_S; at < LAST_S; at += STEP_S) {
        int32_t next = offset_at(at + STEP_S);
        if (next == offset)
            continue;
        v = sl_realloc(v, (z->n + 1) * sizeof *v);
        v[z->n++] = (struct schedule_transition){ (uint64_t)change_between(at, at + STEP_S) * 1000, next };
        offset = next;
    }
    z->v = v;
    return z;
}

static struct schedule_zone *read_zone(const char *name)
{
    const char *before = getenv("TZ");
    char *kept = before == NULL ? NULL : sl_strdup(before);
    setenv("TZ", name, 1);
    tzset();
    struct schedule_zone *z = table_of_local_time(name);
    if (kept != NULL)
        setenv("TZ", kept, 1);
    else
        unsetenv("TZ");
    tzset();
    sl_free(kept);
    return z;
}

const struct schedule_zone *zones_find(const struct zones *z, const char *name)
{
    for (size_t i = 0; i < z->n; i++)
        if (strcmp(z->v[i]->name, name) == 0)
            return z->v[i];
    return NULL;
}

int zones_read(struct zones *z, const char *name)
{
    if (strcmp(name, "UTC") == 0 || zones_find(z, name) != NULL)
        return SL_OK;
    if (!zones_exists(name))
        return SL_ENOENT;
    z->v = sl_realloc(z->v, (z->n + 1) * sizeof(struct schedule_zone *));
    z->v[z->n++] = read_zone(name);
    return SL_OK;
}

void zones_fini(struct zones *z)
{
    for (size_t i = 0; i < z->n; i++) {
        sl_free((char *)(uintptr_t)z->v[i]->name);
        sl_free((void *)(uintptr_t)z->v[i]->v);
        sl_free(z->v[i]);
    }
    sl_free(z->v);
    *z = (struct zones){ 0 };
}
