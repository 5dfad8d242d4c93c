/* SIGHUP: the configuration is read again, and taken over whole or not at all.
 * Pools and schedules can change while the gateway runs; all other keys are
 * refused by name. */
#include "core/utf8.h"
#include "gateway.h"

#define FAULT_SHOWN 1024

static void refuse(const struct config_faults *faults)
{
    char shown[FAULT_SHOWN];
    for (size_t i = 0; i < faults->n; i++)
        sl_log(SL_ERROR, "reload_fault", "fault=\"%s\"", sl_escape(sl_str(faults->v[i]), shown, sizeof shown));
    sl_log(SL_ERROR, "reload_refused", "faults=%zu action=\"the old configuration stays\"", faults->n);
}

static void take_over(struct gateway *g, const struct config *cfg)
{
    struct gateway_pools all;
    gateway_pools_of(g, cfg, &all);
    int err = pools_reload(g->pools, all.v, all.n);
    gateway_pools_fini(&all);
    if (err == SL_OK) {
        gateway_limit_keys(g, cfg);
        gateway_begin(g);
        gateway_set_schedules(g, cfg);
        sl_log(SL_INFO, "reloaded", "config=%s pools=%u schedules=%zu", cfg->source, (unsigned)all.n, cfg->n_schedules);
    }
    if (err != SL_OK)
        sl_log(SL_ERROR, "reload_refused", "error=%s", sl_err_name(err));
}

/* The C library's zone belongs to the whole process: it is not asked for another
 * one while other threads may look at it. */
static bool knows_zones(const struct gateway *g, const struct config *cfg)
{
    const char *zone;
    if (gateway_has_zones(g, cfg, &zone))
        return true;
    sl_log(SL_ERROR, "reload_refused", "reason=\"no schedule had the time zone %s at start: that needs a restart\" action=\"the old configuration stays\"", zone);
    return false;
}

void gateway_reload(struct gateway *g)
{
    struct config *cfg = NULL;
    struct config_faults faults = { 0 };
    if (g->phase != GATEWAY_RUNNING || !g->pools_started) {
        sl_log(SL_WARN, "reload_refused", "reason=\"%s\"", g->phase == GATEWAY_RUNNING ? "it is still starting" : "it is stopping");
        return;
    }
    int err = g->source.load(g->source.arg, &cfg, &faults);
    if (err == SL_OK)
        err = config_reloadable(g->cfg, cfg, &faults);
    if (err != SL_OK)
        refuse(&faults);
    else if (knows_zones(g, cfg))
        take_over(g, cfg);
    config_faults_fini(&faults);
    config_free(cfg);
}
