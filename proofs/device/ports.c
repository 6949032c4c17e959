// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * port_in, port_out and console_write: which ports they touch, and that nothing else happens.
 * Of: kernel/object/range.c
 *
 * Quick goal effect: -DPROOF_EFFECT
 * Goal cells: -DPROOF_CELLS
 * Goal safety: -DPROOF_SAFETY
 */
#define CELLS_slot 2
#define CELLS_table 1
#include "proofs/kernel/call.h"

#include "kernel/invariants.c"
#include "kernel/object/cap.c"
#include "kernel/object/range.c"
#include "kernel/object/table.c"

/* What the machine was asked for. */
static uint32_t ports_read, ports_written, texts;
static uint64_t port, width, value;

uint32_t arch_port_in(uint16_t at, uint32_t bytes)
{
    PROVE_EFFECT(at == port && bytes == width);
    ports_read++;
    return (uint32_t)value;
}

void arch_port_out(uint16_t at, uint32_t bytes, uint32_t what)
{
    PROVE_EFFECT(at == port && bytes == width && what == (uint32_t)value);
    ports_written++;
}

void arch_console_write(const char *text, uint32_t bytes)
{
    PROVE_EFFECT(bytes == width && bytes <= MESSAGE_WORDS_MAX * sizeof(uint64_t));
    (void)text;
    texts++;
}

static struct slot begin(uint64_t n)
{
    ports_read = ports_written = texts = 0;
    port = nondet_u64();
    width = nondet_u64();
    value = nondet_u64();
    proof_begin();
    LOOK_OWN(1, n);
    (void)look_asked(nondet_u32());
    proof_looked();
    ASSUME_CALLER();
    ASSUME_OWN(1);
    /* As the kernel makes them: a range of ports lies within the 65,536 that there are. */
    struct slot s = WAS(slot, slot_key_1);
    ASSUME(s.type != OBJECT_IO_PORTS || (s.base <= 0x10000u && s.length <= 0x10000u - s.base));
    return s;
}

static void end(bool done)
{
    PROVE_EFFECT(UNCHANGED(slot) && UNCHANGED(table) && UNCHANGED(thread));
    PROOF_END_IF(done);
}

/* Every byte of the access is inside the capability's range. */
static bool inside(struct slot s)
{
    return (width == 1 || width == 2 || width == 4) && port >= s.base && port < s.base + s.length &&
           width <= s.base + s.length - port;
}

void prove_in(void)
{
    uint64_t n = nondet_u64();
    struct slot s = begin(n);
    uint64_t got = 0;

    bool done = port_in(PROOF_KERNEL, n, port, width, &got) == STATUS_OK;

    PROVE_EFFECT(done == (holds(n, s, OBJECT_IO_PORTS, RIGHT_READ) && inside(s)));
    PROVE_EFFECT(ports_read == done && ports_written == 0 && texts == 0);
    PROVE_EFFECT(got == (done ? (uint32_t)value : 0));
    end(done);
}

void prove_out(void)
{
    uint64_t n = nondet_u64();
    struct slot s = begin(n);

    bool done = port_out(PROOF_KERNEL, n, port, width, value) == STATUS_OK;

    PROVE_EFFECT(done == (holds(n, s, OBJECT_IO_PORTS, RIGHT_WRITE) && inside(s)));
    PROVE_EFFECT(ports_read == 0 && ports_written == done && texts == 0);
    end(done);
}

void prove_console(void)
{
    uint64_t n = nondet_u64();
    struct slot s = begin(n);
    const uint64_t words[8] = {0};

    bool done = console_write(PROOF_KERNEL, n, width, words) == STATUS_OK;

    PROVE_EFFECT(done == (holds(n, s, OBJECT_CONSOLE, RIGHT_WRITE) && width <= 64));
    PROVE_EFFECT(ports_read == 0 && ports_written == 0 && texts == done);
    end(done);
}
