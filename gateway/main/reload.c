/* SIGHUP: the configuration is read again, and taken over whole or not at all.
 * Only pools can change while the gateway runs; all other keys are refused by
 * name. */
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
    if (err == SL_OK)
        gateway_limit_keys(g, cfg);
    if (err == SL_OK)
        sl_log(SL_INFO, "reloaded", "config=%s pools=%u", cfg->source, (unsigned)all.n);
    else
        sl_log(SL_ERROR, "reload_refused", "error=%s", sl_err_name(err));
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
    if (err == SL_OK)
        take_over(g, cfg);
    else
        refuse(&faults);
    config_faults_fini(&faults);
    config_free(cfg);
}
