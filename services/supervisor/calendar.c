// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The time of day, from the PC's real-time clock (Motorola MC146818A data sheet; index port 0x70,
 * data port 0x71). Read once at the start; from then on the kernel's clock carries it on. The clock
 * is taken to run in UTC.
 */
#include "services/supervisor/supervisor.h"

#define RTC_INDEX_PORT 0x70u
#define RTC_DATA_PORT 0x71u
#define RTC_SECONDS 0u
#define RTC_MINUTES 2u
#define RTC_HOURS 4u
#define RTC_DAY 7u
#define RTC_MONTH 8u
#define RTC_YEAR 9u
#define RTC_STATUS_A 10u
#define RTC_STATUS_B 11u
#define RTC_UPDATING 0x80u  /* status A: the registers change within 244 us */
#define RTC_24_HOURS 0x02u  /* status B */
#define RTC_BINARY 0x04u    /* status B: else two decimal digits a byte */
#define RTC_AFTERNOON 0x80u /* hours, when they go to 12 */
#define READ_TRIES 1000u
#define YEAR_BASE 2000u

enum { FIELDS = 6 };
static const uint8_t registers[FIELDS] = {RTC_SECONDS, RTC_MINUTES, RTC_HOURS,
                                          RTC_DAY,     RTC_MONTH,   RTC_YEAR};

static status_t rtc_read(uint32_t index, uint32_t *value)
{
    status_t status = port_out(BOOT_SLOT_RTC_PORTS, RTC_INDEX_PORT, 1, index);

    return status == STATUS_OK ? port_in(BOOT_SLOT_RTC_PORTS, RTC_DATA_PORT, 1, value) : status;
}

/* All fields twice in a row the same, outside an update. */
static status_t read_fields(uint32_t fields[FIELDS])
{
    uint32_t last[FIELDS] = {0};

    for (uint32_t tries = 0; tries < READ_TRIES; tries++) {
        uint32_t updating;
        bool same = tries != 0;
        status_t status = rtc_read(RTC_STATUS_A, &updating);
        for (uint32_t i = 0; i < FIELDS && status == STATUS_OK; i++) {
            status = rtc_read(registers[i], &fields[i]);
            same = same && fields[i] == last[i];
            last[i] = fields[i];
        }
        if (status != STATUS_OK) {
            return status;
        }
        if (same && (updating & RTC_UPDATING) == 0) {
            return STATUS_OK;
        }
    }
    return STATUS_DEVICE_ERROR;
}

/* Days from 1970-01-01 to a day of the Gregorian calendar, for years from 1970 on. */
static uint64_t days_since_1970(uint32_t year, uint32_t month, uint32_t day)
{
    static const uint16_t before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    uint32_t past = year - 1;
    uint64_t leap_days = past / 4 - past / 100 + past / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);

    return (uint64_t)(year - 1970) * 365 + leap_days + before[month - 1] + (leap && month > 2) +
           day - 1;
}

static void from_decimal(uint32_t fields[FIELDS])
{
    for (uint32_t i = 0; i < FIELDS; i++) {
        uint32_t flag = fields[i] & RTC_AFTERNOON & (registers[i] == RTC_HOURS ? ~0u : 0u);
        uint32_t digits = fields[i] & ~flag;
        fields[i] = (digits >> 4) * 10 + (digits & 15u) + flag;
    }
}

void calendar_read(struct supervisor *s)
{
    uint32_t fields[FIELDS];
    uint32_t mode;
    status_t status = read_fields(fields);

    if (status == STATUS_OK) {
        status = rtc_read(RTC_STATUS_B, &mode);
    }
    if (status != STATUS_OK) {
        log_line("no real-time clock: the time of day is not known");
        return;
    }
    if ((mode & RTC_BINARY) == 0) {
        from_decimal(fields);
    }
    if ((mode & RTC_24_HOURS) == 0) {
        uint32_t hour = (fields[2] & ~RTC_AFTERNOON) % 12;
        fields[2] = hour + ((fields[2] & RTC_AFTERNOON) != 0 ? 12 : 0);
    }
    if (fields[0] > 60 || fields[1] > 59 || fields[2] > 23 || fields[3] < 1 || fields[3] > 31 ||
        fields[4] < 1 || fields[4] > 12 || fields[5] > 99) {
        log_line("the real-time clock is not set: the time of day is not known");
        return;
    }
    uint64_t days = days_since_1970(YEAR_BASE + fields[5], fields[4], fields[3]);
    uint64_t seconds = ((days * 24 + fields[2]) * 60 + fields[1]) * 60 + fields[0];
    s->unix_ns_at_zero = seconds * 1000000000u - clock_ns(&s->boot->time);
}
