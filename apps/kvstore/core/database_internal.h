// SPDX-License-Identifier: MIT OR Apache-2.0
/* Shared by the files of the database only. */
#ifndef APPS_KVSTORE_CORE_DATABASE_INTERNAL_H
#define APPS_KVSTORE_CORE_DATABASE_INTERNAL_H

#include "apps/kvstore/core/database.h"

/* Puts the record of a set. A value that is `entry`'s blob goes by reference; `entry` may be NULL.
 * Errors as journal_put. */
status_t database_put_set(struct database *database, const struct entry *entry, struct slice key,
                          struct slice value, int64_t expires_ms) HALLOWS_MUST_CHECK;

#endif
