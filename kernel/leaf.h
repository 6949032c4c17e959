// SPDX-License-Identifier: MIT OR Apache-2.0
/* Attributes of leaves that only the kernel gives, beside those of hallows/syscall.h. */
#ifndef KERNEL_LEAF_H
#define KERNEL_LEAF_H

/* The frame belongs to the segment whose table this is. */
#define LEAF_OWN (1u << 10)

#endif
