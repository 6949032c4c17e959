// SPDX-License-Identifier: MIT OR Apache-2.0
#include <hallows/status.h>

#define TEXT_CASE(name, number, text)                                                              \
    case (number):                                                                                 \
        return text;
#define NAME_CASE(name, number, text)                                                              \
    case (number):                                                                                 \
        return #name;

const char *status_text(status_t status)
{
    switch (status) {
        HALLOWS_STATUS_TABLE(TEXT_CASE)
    default:
        return "a status number that this build does not know";
    }
}

const char *status_name(status_t status)
{
    switch (status) {
        HALLOWS_STATUS_TABLE(NAME_CASE)
    default:
        return "UNKNOWN";
    }
}
