/* The only file of this room that reads files. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "config/config.h"
#include "faults.h"
#include "scan.h"

static const char *const places[] = { "./sluice.json", "/etc/sluice/sluice.json" };

static int cannot_read(const char *path, const char *why, struct config_faults *faults)
{
    struct config_report r = { .filename = path };
    config_fault(&r, (struct config_place){ 0, 1, 1 }, "", "cannot be read: %s", why);
    return config_report_end(&r, faults);
}

/* Appends the whole of `f` to `out`, which is limited to one byte more than a
 * configuration may have: config_parse then says what is wrong. */
static int read_all(FILE *f, struct sl_buf *out)
{
    for (;;) {
        size_t room = CONFIG_TEXT_MAX + 1 - sl_buf_len(out);
        size_t want = room < 65536 ? room : 65536;
        uint8_t *to = want == 0 ? NULL : sl_buf_reserve(out, want);
        if (to == NULL)
            return SL_OK;
        size_t got = fread(to, 1, want, f);
        sl_buf_commit(out, got);
        if (got < want)
            return ferror(f) ? SL_ESYS : SL_OK;
    }
}

static int load_open(FILE *f, const char *path, const struct config_overrides *over,
                     struct config **out, struct config_faults *faults)
{
    struct sl_buf text;
    sl_buf_init(&text, CONFIG_TEXT_MAX + 1);
    int err = read_all(f, &text);
    if (err != SL_OK)
        err = cannot_read(path, strerror(errno), faults);
    else
        err = config_parse(sl_buf_view(&text), path, over, out, faults);
    sl_buf_fini(&text);
    return err;
}

static int load_file(const char *path, const struct config_overrides *over, struct config **out,
                     struct config_faults *faults)
{
    FILE *f = fopen(path, "rbe");
    if (f == NULL)
        return cannot_read(path, strerror(errno), faults);
    int err = load_open(f, path, over, out, faults);
    fclose(f);
    return err;
}

/* A file that is there and cannot be read is a fault, not a reason to look on. */
static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 || errno != ENOENT;
}

int config_load(const char *path, const struct config_overrides *over, struct config **out,
                struct config_faults *faults)
{
    if (path != NULL)
        return load_file(path, over, out, faults);
    for (size_t i = 0; i < SL_COUNT(places); i++)
        if (is_there(places[i]))
            return load_file(places[i], over, out, faults);
    return config_parse(sl_str(config_builtin_text()), "built-in", over, out, faults);
}
