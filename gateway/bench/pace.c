/* The open loop's timetable: message m of all is due at start + m * interval;
 * link c of n has the messages c, c + n, c + 2n, … */
#include "load.h"

uint64_t pace_due(uint64_t start_ns, uint64_t now_ns, double ns_per_message)
{
    return now_ns < start_ns ? 0 : (uint64_t)((double)(now_ns - start_ns) / ns_per_message) + 1;
}

uint64_t pace_time(const struct load *l, uint32_t number, uint64_t sequence)
{
    double m = (double)(sequence * l->o.connections + number);
    return l->pace_start_ns + (uint64_t)(m * l->ns_per_message);
}
