#include "calendar.h"

#define DAYS_IN_400_YEARS 146097
#define MARCH_1_OF_0      719468 /* days from 0000-03-01 to 1970-01-01 */
#define THURSDAY          4      /* 1970-01-01 */

unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* By years that begin in March: the leap day is then the last of its year, and
 * the months have a closed form (153 days in each five). */
struct date date_of(int64_t day)
{
    int64_t since = day + MARCH_1_OF_0;
    int64_t era = since / DAYS_IN_400_YEARS, in_era = since % DAYS_IN_400_YEARS;
    int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    int64_t in_year = in_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * in_year + 2) / 153; /* 0: March */
    struct date d = { .day = day, .weekday = (unsigned)((day + THURSDAY) % 7) };
    d.of_month = (unsigned)(in_year - (153 * month + 2) / 5 + 1);
    d.month = (unsigned)(month < 10 ? month + 3 : month - 9);
    d.year = (unsigned)(era * 400 + year + (d.month <= 2));
    return d;
}

static void turn_month(struct date *d)
{
    d->of_month = 1;
    if (++d->month <= 12)
        return;
    d->month = 1;
    d->year++;
}

void date_next_day(struct date *d)
{
    d->day++;
    d->weekday = d->weekday == 6 ? 0 : d->weekday + 1;
    if (++d->of_month > days_in_month(d->year, d->month))
        turn_month(d);
}

void date_next_month(struct date *d)
{
    unsigned left = days_in_month(d->year, d->month) - d->of_month + 1;
    d->day += left;
    d->weekday = (d->weekday + left) % 7;
    turn_month(d);
}
