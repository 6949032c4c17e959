// SPDX-License-Identifier: MIT OR Apache-2.0
/* Capabilities to ranges (I/O ports, device memory), and the console. */
#include "kernel/object/cap.h"
#include "kernel/object/object.h"

/*
 * Requires: dst empty; src a range (WRONG_TYPE); a sub-range that is not
 *           empty and, in device memory, page-aligned; depth below the limit.
 * Changes:  dst is a child of src for that sub-range, with rights & src's.
 */
status_t range_derive(struct kernel *k, const struct range_request *request)
{
    slot_ix dst;
    slot_ix src;
    status_t status = cap_decode_pair(k, request->to, request->from, &dst, &src);

    if (status != STATUS_OK) {
        return status;
    }
    const struct slot *source = slot_at(k, src);
    if (source->type != OBJECT_IO_PORTS && source->type != OBJECT_DEVICE_MEMORY &&
        source->type != OBJECT_PCI_FUNCTIONS) {
        return STATUS_WRONG_TYPE;
    }
    if (source->type == OBJECT_DEVICE_MEMORY &&
        ((request->base | request->length) & (PAGE_BYTES - 1u)) != 0) {
        return STATUS_MISALIGNED;
    }
    if (request->length == 0 || request->base < source->base ||
        request->base - source->base > source->length ||
        request->length > source->length - (request->base - source->base)) {
        return STATUS_INVALID_ARGUMENT;
    }
    if (source->depth >= DERIVATION_DEPTH_MAX) {
        return STATUS_DERIVATION_DEPTH;
    }
    cap_derive(k, src, dst, (uint32_t)request->rights & RIGHTS_ALL, 0);
    slot_at(k, dst)->base = request->base;
    slot_at(k, dst)->length = request->length;
    return STATUS_OK;
}

static status_t port_decode(struct kernel *k, uint64_t ports, uint64_t port, uint64_t width,
                            uint32_t right)
{
    struct slot *slot;
    status_t status = cap_find(k, ports, OBJECT_IO_PORTS, right, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    if ((width != 1 && width != 2 && width != 4) || port < slot->base ||
        port - slot->base > slot->length || width > slot->length - (port - slot->base)) {
        return STATUS_INVALID_ARGUMENT;
    }
    return STATUS_OK;
}

/* Requires: ports held with READ, the range inside them. Changes: whatever the device does. */
status_t port_in(struct kernel *k, uint64_t ports, uint64_t port, uint64_t width, uint64_t *value)
{
    status_t status = port_decode(k, ports, port, width, RIGHT_READ);

    if (status == STATUS_OK) {
        *value = arch_port_in((uint16_t)port, (uint32_t)width);
    }
    return status;
}

/* Requires: ports held with WRITE, the range inside them. Changes: whatever the device does. */
status_t port_out(struct kernel *k, uint64_t ports, uint64_t port, uint64_t width, uint64_t value)
{
    status_t status = port_decode(k, ports, port, width, RIGHT_WRITE);

    if (status == STATUS_OK) {
        arch_port_out((uint16_t)port, (uint32_t)width, (uint32_t)value);
    }
    return status;
}

/* Requires: console held with WRITE, at most 64 bytes. Changes: the text is on the console. */
status_t console_write(struct kernel *k, uint64_t console, uint64_t bytes, const uint64_t words[8])
{
    struct slot *slot;
    status_t status = cap_find(k, console, OBJECT_CONSOLE, RIGHT_WRITE, &slot);

    if (status != STATUS_OK) {
        return status;
    }
    if (bytes > MESSAGE_WORDS_MAX * sizeof(uint64_t)) {
        return STATUS_INVALID_ARGUMENT;
    }
    arch_console_write((const char *)words, (uint32_t)bytes);
    return STATUS_OK;
}
