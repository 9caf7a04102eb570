/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What every other file needs: the rule for errors and the rule for cleanup.
 *
 * Errors. A function that can fail returns an int `r`: 0 or more is success, less is a negative errno, which
 * is passed up unchanged. If a person will read about it, the function also takes a `struct failure *`.
 * Whoever knows best what went wrong, usually the lowest function, fills it in with failure_set(), which
 * returns the errno, so that reporting and returning are one statement. Callers do not overwrite a failure
 * that is already set.
 *
 * Cleanup. A variable that holds something acquired has a _cleanup_ attribute and hands it on with TAKE_FD()
 * or TAKE_PTR(). Closed fds are -EBADF. Outputs are named ret_… and are written on success only.
 */

#include <errno.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define _cleanup_(f)      __attribute__((cleanup(f)))
#define _printf_(fmt, va) __attribute__((format(printf, fmt, va)))
#define ELEMENTSOF(a)     (sizeof(a) / sizeof((a)[0]))
#define STREQ(a, b)       (strcmp((a), (b)) == 0)

#define USEC_PER_MSEC 1000ULL
#define USEC_PER_SEC  1000000ULL
#define NSEC_PER_USEC 1000ULL

static inline int close_fd(int fd)
{
        if (fd >= 0)
                close(fd);
        return -EBADF;
}

static inline void close_fdp(int *fd)
{
        *fd = close_fd(*fd);
}

/* Memory. Running out of it ends the process with a message, here and nowhere else: these functions never
 * return NULL. A handoff whose process ends like that is recovered as after any other death, and that is
 * tested; a hundred error paths that never run would not be. Sizes that come from outside have bounds of
 * their own. */
void *mem_new(size_t n, size_t size);     /* zeroed */
void *mem_resize(void *old, size_t size); /* as realloc(3) */
void *mem_check(void *p);                 /* @p, allocated elsewhere */
char *text_copy(const char *s);           /* NULL gives NULL */
char *text_copy_part(const char *s, size_t n);
char *text_print(const char *format, ...) _printf_(1, 2);

static inline void freep(void *p)
{
        free(*(void **)p);
}

static inline void fclosep(FILE **f)
{
        if (*f)
                fclose(*f);
}

static inline void json_putp(json_object **o)
{
        json_object_put(*o);
}

#define _cleanup_close_  _cleanup_(close_fdp)
#define _cleanup_free_   _cleanup_(freep)
#define _cleanup_fclose_ _cleanup_(fclosep)
#define _cleanup_json_   _cleanup_(json_putp)

#define TAKE(var, nothing)                                                                                   \
        ({                                                                                                   \
                typeof(var) *_p = &(var);                                                                    \
                typeof(var) _v = *_p;                                                                        \
                *_p = (nothing);                                                                             \
                _v;                                                                                          \
        })
#define TAKE_FD(fd) TAKE(fd, -EBADF)
#define TAKE_PTR(p) TAKE(p, NULL)

/* Why something failed, and what the reader can do about it. Both are sentences without a full stop. */
struct failure {
        int error; /* positive errno; 0: nothing has failed */
        char what[512];
        char remedy[256]; /* may be empty */
};

/* Fills in @f unless it is NULL or already set. @error is a positive or a negative errno. Returns it
 * negative. */
int failure_set(struct failure *f, int error, const char *what, ...) _printf_(3, 4);
/* Adds the remedy, unless there already is one. Returns -f->error. */
int failure_remedy(struct failure *f, const char *remedy, ...) _printf_(2, 3);

/* Passes on a whole failure, remedy included, unless @f is NULL or already set. Returns -why->error. */
int failure_pass(struct failure *f, const struct failure *why);

/* CLOCK_BOOTTIME in µs: the same for all processes of a host, and it keeps counting during suspend. */
uint64_t now_usec(void);

/* One send(2) of @data, without SIGPIPE, with a copy of the descriptor @fd (-EBADF: none; it stays the
 * caller's). @flags: further MSG_ flags. Returns how many bytes were sent, or a negative errno. */
ssize_t send_with_fd(int socket, const void *data, size_t size, int fd, int flags);

/* Checked getters, which json-c lacks: these return NULL, @otherwise or false where the member is missing or
 * of another type. Strings belong to @o. */
const char *json_str(json_object *o, const char *key);
int64_t json_int(json_object *o, const char *key, int64_t otherwise);
bool json_flag(json_object *o, const char *key);
json_object *json_obj(json_object *o, const char *key); /* borrowed */
json_object *json_arr(json_object *o, const char *key); /* borrowed */
/* Adds a member; takes the value's reference. Aborts when memory runs out, as json-c itself does. */
void json_add(json_object *o, const char *key, json_object *value);
/* The length of the UTF-8 sequence at the start of @s (RFC 3629, table in section 4); 0: it is not one. */
size_t utf8_sequence(const unsigned char *s, size_t size);
void json_add_str(json_object *o, const char *key, const char *value); /* NULL adds nothing */
void json_add_int(json_object *o, const char *key, int64_t value);
void json_add_bool(json_object *o, const char *key, bool value);

/* A valid name for a VM: usable as a file name, a unit instance and a shell word alike.
 * [A-Za-z0-9][A-Za-z0-9_.-]{0,62} */
bool name_is_valid(const char *name);
