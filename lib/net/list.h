// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Circular doubly linked list inside the members' own memory. A node outside any list points to
 * itself, so removing is always allowed.
 */
#ifndef LIB_NET_LIST_H
#define LIB_NET_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *previous;
};

#define LIST_MEMBER(node, type, field) ((type *)(void *)((char *)(node)-offsetof(type, field)))

static inline void list_init(struct list *list)
{
    list->next = list;
    list->previous = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline void list_append(struct list *list, struct list *node)
{
    node->previous = list->previous;
    node->next = list;
    list->previous->next = node;
    list->previous = node;
}

static inline void list_remove(struct list *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    list_init(node);
}

/* Takes out the first member; NULL when there is none. */
static inline struct list *list_pop(struct list *list)
{
    struct list *node = list->next;

    if (node == list) {
        return NULL;
    }
    list_remove(node);
    return node;
}

/* Moves all members of `from` to the end of the empty list `to`. */
static inline void list_move(struct list *to, struct list *from)
{
    if (list_is_empty(from)) {
        return;
    }
    to->next = from->next;
    to->previous = from->previous;
    to->next->previous = to;
    to->previous->next = to;
    list_init(from);
}

#endif
