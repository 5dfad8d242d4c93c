/* Text to configuration: scan, --set, apply, check. Nothing here reads a file
 * or asks the system. */
#include "apply.h"
#include "check.h"
#include "scan.h"
#include "set.h"

struct parse {
    struct config_memory *tree;
    struct config_report report;
    const char *folder;
};

static const char *folder_of(struct config_memory *m, const char *filename)
{
    const char *slash = strrchr(filename, '/');
    if (slash == NULL)
        return "";
    size_t n = slash == filename ? 1 : (size_t)(slash - filename);
    return config_memory_text(m, sl_bytes_of(filename, n));
}

static void apply_all(struct parse *p, struct config *c, struct config_node *root,
                      const struct config_overrides *over)
{
    for (size_t i = 0; i < over->n_sets; i++)
        config_set(p->tree, root, over->sets[i], (uint32_t)(i + 1), &p->report);
    config_apply(c, root, p->folder, &p->report);
    config_check(c, root, p->folder, &p->report);
    config_check_schedules(c, root, over->is_zone, &p->report);
    if (over->data_dir != NULL)
        c->data_dir = config_memory_text(c->memory, sl_str(over->data_dir));
}

static struct config *config_new(const char *filename)
{
    struct config_memory *m = config_memory_new();
    struct config *c = config_memory_take(m, 1, sizeof *c);
    c->memory = m;
    c->source = config_memory_text(m, sl_str(filename));
    return c;
}

int config_parse(struct sl_bytes text, const char *filename, const struct config_overrides *over,
                 struct config **out, struct config_faults *faults)
{
    static const struct config_overrides none = { .n_sets = 0 };
    struct parse p = { .tree = config_memory_new(), .report = { .filename = filename } };
    struct config_origin from = { 0, "" };
    struct config *c = config_new(filename);
    p.folder = folder_of(p.tree, filename);
    struct config_node *root = config_scan(p.tree, text, from, &p.report);
    if (root != NULL)
        apply_all(&p, c, root, over != NULL ? over : &none);
    int err = config_report_end(&p.report, faults);
    config_memory_free(p.tree);
    if (err != SL_OK) {
        config_free(c);
        return err;
    }
    *out = c;
    return SL_OK;
}

void config_free(struct config *c)
{
    if (c != NULL)
        config_memory_free(c->memory); /* `c` itself is in it */
}

const struct config_queue *config_queue_find(const struct config *c, struct sl_bytes name)
{
    for (size_t i = 0; i < c->n_queues; i++)
        if (sl_bytes_is(name, c->queues[i].name))
            return &c->queues[i];
    return NULL;
}
