/* Zones as tables, and times as people write them. */
#ifndef TESTS_SCHEDULE_KIT_H
#define TESTS_SCHEDULE_KIT_H

#include <stdio.h>

#include "claims.h"

#include "core/times.h"
#include "schedule/schedule.h"

static inline uint64_t at(const char *text)
{
    uint64_t ms = 0;
    if (sl_time_parse(sl_str(text), &ms) != SL_OK)
        fail_msg("%s is no time", text);
    return ms;
}

/* With the offset that local clocks have then. */
static inline const char *shown(uint64_t ms)
{
    static char text[32];
    return ms == SCHEDULE_NEVER ? "never" : sl_time_format(ms, text, sizeof text);
}

static inline struct schedule cron(const char *text, const struct schedule_zone *zone)
{
    struct schedule s = { .zone = zone };
    char why[SCHEDULE_WHY_MAX];
    if (schedule_cron_parse(sl_str(text), &s.cron, why) != SL_OK)
        fail_msg("\"%s\": %s", text, why);
    return s;
}

/* 2025 to 2027, by the zone database. Kathmandu is 5:45 ahead; Lord Howe's summer time is half an hour. */
#define ZONE(zone, label, before)                                                                                      \
    static const struct schedule_zone zone = { label, before, zone##_v, sizeof zone##_v / sizeof zone##_v[0] }
static const struct schedule_transition berlin_v[] = {
    { UINT64_C(1743296400000), 7200 }, /* 2025-03-30T01:00Z */
    { UINT64_C(1761440400000), 3600 }, /* 2025-10-26T01:00Z */
    { UINT64_C(1774746000000), 7200 }, /* 2026-03-29T01:00Z */
    { UINT64_C(1792890000000), 3600 }, /* 2026-10-25T01:00Z */
    { UINT64_C(1806195600000), 7200 }, /* 2027-03-28T01:00Z */
    { UINT64_C(1824944400000), 3600 }, /* 2027-10-31T01:00Z */
};
ZONE(berlin, "Europe/Berlin", 3600);
static const struct schedule_transition new_york_v[] = {
    { UINT64_C(1772953200000), -14400 }, /* 2026-03-08T07:00Z */
    { UINT64_C(1793512800000), -18000 }, /* 2026-11-01T06:00Z */
};
ZONE(new_york, "America/New_York", -18000);
static const struct schedule_transition lord_howe_v[] = {
    { UINT64_C(1775314800000), 37800 }, /* 2026-04-04T15:00Z */
    { UINT64_C(1791041400000), 39600 }, /* 2026-10-03T15:30Z */
};
ZONE(lord_howe, "Australia/Lord_Howe", 39600);
/* The day 2011-12-30 was left out. */
static const struct schedule_transition apia_v[] = {
    { UINT64_C(1325239200000), 50400 }, /* 2011-12-30T10:00Z */
};
ZONE(apia, "Pacific/Apia", -36000);
static const struct schedule_zone kathmandu = { "Asia/Kathmandu", 20700, NULL, 0 };

#endif
