// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Where in the upper half the kernel's image lies (kernel address space layout randomisation). It
 * is linked for KERNEL_VIRTUAL; before its final tables are made it is moved up by a random number
 * of pages, the slide, of which there are SLIDE_WINDOWS * (513 - pages of the image): some 17.7
 * bits, if the CPU has RDSEED or RDRAND; else no more than the TSC and the loader's data are good
 * for. The image lies within 2 MiB, so that every slide costs the same tables. The windows of
 * layout.h are not moved (decision 013).
 */
#ifndef KERNEL_ARCH_X86_64_SLIDE_H
#define KERNEL_ARCH_X86_64_SLIDE_H

#include "kernel/arch/x86_64/layout.h"
#include "kernel/boot/parameters.h"

#define SLIDE_WINDOWS 510u /* of 2 MiB in the GiB, but for the first two */

/* KERNEL_VIRTUAL as it is after the slide. */
extern const char image_base[];

/* The compiler must not compute with what is not yet known to it. */
static inline uint64_t image_slide(void)
{
    uint64_t base = (uint64_t)image_base;
    __asm__("" : "+r"(base));
    return base - KERNEL_VIRTUAL;
}

/* Chooses the slide, from `parameters` among others, and maps and changes the image for it; with
 * the word "nokaslr" in the command line there is none. What runs goes on at its old address until
 * something jumps to a symbol. Context: start only, early tables, nothing else has run. */
void slide_image(const struct boot_parameters *parameters);

#endif
