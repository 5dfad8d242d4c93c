/* Days and dates: the proleptic Gregorian calendar. */
#ifndef SCHEDULE_CALENDAR_H
#define SCHEDULE_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

struct date {
    int64_t day; /* since 1970-01-01 */
    unsigned year, month, of_month; /* month and of_month from 1 */
    unsigned weekday;               /* 0: Sunday */
};

unsigned days_in_month(unsigned year, unsigned month);
/* `day` is not before 1970. */
struct date date_of(int64_t day);
void date_next_day(struct date *d);
/* The first day of the next month. */
void date_next_month(struct date *d);

#endif
