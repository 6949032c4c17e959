// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The one table of status numbers: kernel calls, libraries, drivers and services all return these.
 * A status is 0 (STATUS_OK) or negative. Numbers never change meaning; new ones go at the end.
 */
#ifndef HALLOWS_STATUS_H
#define HALLOWS_STATUS_H

#include <hallows/types.h>

/* X(name, number, sentence) */
#define HALLOWS_STATUS_TABLE(X)                                                                    \
    X(OK, 0, "success")                                                                            \
    X(INVALID_CALL, -1, "there is no call of that number")                                         \
    X(INVALID_SLOT, -2, "the slot number lies outside the capability table")                       \
    X(EMPTY_SLOT, -3, "the slot holds no capability")                                              \
    X(OCCUPIED_SLOT, -4, "the destination slot already holds a capability")                        \
    X(WRONG_TYPE, -5, "the capability is of another type than the call needs")                     \
    X(NO_RIGHTS, -6, "the capability lacks a right that the call needs")                           \
    X(INVALID_ARGUMENT, -7, "an argument is outside its range")                                    \
    X(MISALIGNED, -8, "an address or length is not aligned as required")                           \
    X(NO_MEMORY, -9, "the memory or pool that serves the request is used up")                      \
    X(BUSY, -10, "the object is in use and cannot be changed or deleted now")                      \
    X(AGAIN, -11, "a bounded step was done; repeat the call to continue")                          \
    X(TIMED_OUT, -12, "the deadline passed first")                                                 \
    X(CANCELLED, -13, "the object was deleted or the operation cancelled while waiting")           \
    X(DERIVATION_DEPTH, -14, "the capability is derived too deeply to be derived again")           \
    X(ALREADY_MAPPED, -15, "something is already mapped or attached at that address")              \
    X(NOT_MAPPED, -16, "nothing is mapped or attached at that address")                            \
    X(MISSING_TABLE, -17, "a page table for that address has to be mapped first")                  \
    X(UNSUPPORTED, -18, "this kernel or device does not offer that")                               \
    X(WOULD_BLOCK, -19, "nothing is ready and the caller asked not to wait")                       \
    X(CORRUPT, -20, "stored or received data fails its checks")                                    \
    X(WRONG_VERSION, -21, "the data is of another format or version")                              \
    X(DEVICE_ERROR, -22, "the device reported an error")                                           \
    X(DEVICE_TIMEOUT, -23, "the device did not answer within its deadline")                        \
    X(CLOSED, -24, "the peer or the ring is closed")                                               \
    X(FULL, -25, "the ring, queue, log or device is full")                                         \
    X(NOT_FOUND, -26, "there is no such thing")                                                    \
    X(TOO_LARGE, -27, "the request is larger than the limit")                                      \
    X(RESET, -28, "the connection or ring was reset by the peer")                                  \
    X(UNREACHABLE, -29, "no route or no answer from the peer")                                     \
    X(IN_USE, -30, "the address, port or name is already taken")                                   \
    X(FOREIGN, -31, "the device holds data that this system did not write")

typedef int32_t status_t;

#define HALLOWS_STATUS_ENUM(name, number, text) STATUS_##name = (number),
enum { HALLOWS_STATUS_TABLE(HALLOWS_STATUS_ENUM) };
#undef HALLOWS_STATUS_ENUM

/* The sentence for a status, for messages to people. Never NULL; unknown numbers say so. */
const char *status_text(status_t status);
/* The bare name, e.g. "NO_RIGHTS". Never NULL. */
const char *status_name(status_t status);

#endif
