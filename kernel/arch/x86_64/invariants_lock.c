// SPDX-License-Identifier: MIT OR Apache-2.0
/* What accessors assert in a checked kernel. Not part of the kernel that ships. */
#include "kernel/arch/x86_64/smp.h"

#ifdef HALLOWS_DEBUG
bool state_is_locked(void)
{
    return __atomic_load_n(&kernel_lock.serving, __ATOMIC_RELAXED) !=
           __atomic_load_n(&kernel_lock.next, __ATOMIC_RELAXED);
}
#endif
