// SPDX-License-Identifier: MIT OR Apache-2.0
/* The two lists that objects are in: members of a parent, and queues of threads. Inline: hot paths
 * use them. Context: as kernel/object/object.h. */
#ifndef KERNEL_OBJECT_LISTS_H
#define KERNEL_OBJECT_LISTS_H

#include "kernel/state.h"

/* Members of type `name` that name their parent in `up`, from the parent's field `first` on, newest
 * first. verb_link, of one without a parent; verb_unlink, which leaves it without (or has no effect
 * on one that is the only one of no parent). */
#define DEFINE_MEMBERS(verb, name, parent_name, up, first, next, previous)                         \
    INLINE void verb##_link(struct kernel *k, parent_name##_ix parent_ix, name##_ix i)             \
    {                                                                                              \
        struct parent_name *above = parent_name##_at(k, parent_ix);                                \
        struct name *member = name##_at(k, i);                                                     \
        member->up = parent_ix;                                                                    \
        member->previous = (name##_ix){NIL};                                                       \
        member->next = above->first;                                                               \
        if (member->next.n != NIL) {                                                               \
            name##_at(k, member->next)->previous = i;                                              \
        }                                                                                          \
        above->first = i;                                                                          \
    }                                                                                              \
    static inline void verb##_unlink(struct kernel *k, name##_ix i)                                \
    {                                                                                              \
        struct name *member = name##_at(k, i);                                                     \
        if (member->previous.n != NIL) {                                                           \
            name##_at(k, member->previous)->next = member->next;                                   \
        } else if (member->up.n != NIL) {                                                          \
            parent_name##_at(k, member->up)->first = member->next;                                 \
        }                                                                                          \
        if (member->next.n != NIL) {                                                               \
            name##_at(k, member->next)->previous = member->previous;                               \
        }                                                                                          \
        member->up = (parent_name##_ix){NIL};                                                      \
        member->next = (name##_ix){NIL};                                                           \
        member->previous = (name##_ix){NIL};                                                       \
    }

/* Behind the last of a queue of threads. */
INLINE void queue_append(struct kernel *k, thread_ix *head, thread_ix *tail, thread_ix i)
{
    struct thread *t = thread_at(k, i);

    t->next = (thread_ix){NIL};
    t->previous = *tail;
    if (tail->n != NIL) {
        thread_at(k, *tail)->next = i;
    } else {
        *head = i;
    }
    *tail = i;
}

/* Out of the queue that it is in. */
INLINE void queue_take(struct kernel *k, thread_ix *head, thread_ix *tail, struct thread *t)
{
    if (t->previous.n != NIL) {
        thread_at(k, t->previous)->next = t->next;
    } else {
        *head = t->next;
    }
    if (t->next.n != NIL) {
        thread_at(k, t->next)->previous = t->previous;
    } else {
        *tail = t->previous;
    }
    t->next = (thread_ix){NIL};
    t->previous = (thread_ix){NIL};
}

#endif
