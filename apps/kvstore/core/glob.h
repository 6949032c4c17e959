// SPDX-License-Identifier: MIT OR Apache-2.0
#ifndef APPS_KVSTORE_CORE_GLOB_H
#define APPS_KVSTORE_CORE_GLOB_H

#include "apps/kvstore/core/slice.h"

/* Whether `text` matches `pattern`: * any run, ? any byte, [abc] [a-z] [^a] one of a set, \x the
 * byte x. Work is at most pattern bytes times text bytes, whatever the pattern. */
bool glob_match(struct slice pattern, struct slice text);

#endif
