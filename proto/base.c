/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/base.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>

int failure_set(struct failure *f, int error, const char *what, ...)
{
        va_list ap;

        if (error < 0)
                error = -error;
        if (!f || f->error)
                return -error;
        f->error = error;
        va_start(ap, what);
        vsnprintf(f->what, sizeof(f->what), what, ap);
        va_end(ap);
        f->remedy[0] = '\0';
        return -error;
}

int failure_remedy(struct failure *f, const char *remedy, ...)
{
        va_list ap;

        if (!f)
                return -EINVAL;
        if (!f->remedy[0]) {
                va_start(ap, remedy);
                vsnprintf(f->remedy, sizeof(f->remedy), remedy, ap);
                va_end(ap);
        }
        return -f->error;
}

void *mem_check(void *p)
{
        static const char message[] = "cprd: out of memory\n";

        if (p)
                return p;
        if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
                abort();
        abort();
}

void *mem_new(size_t n, size_t size)
{
        return mem_check(calloc(n ?: 1, size ?: 1));
}

void *mem_resize(void *old, size_t size)
{
        return mem_check(realloc(old, size ?: 1));
}

char *text_copy(const char *s)
{
        return s ? mem_check(strdup(s)) : NULL;
}

char *text_copy_part(const char *s, size_t n)
{
        return mem_check(strndup(s, n));
}

char *text_print(const char *format, ...)
{
        char *text = NULL;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(&text, format, ap);
        va_end(ap);
        return mem_check(n < 0 ? NULL : text);
}

int failure_pass(struct failure *f, const struct failure *why)
{
        if (f && !f->error)
                *f = *why;
        return -why->error;
}

uint64_t now_usec(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_BOOTTIME, &ts);
        return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / NSEC_PER_USEC;
}

static json_object *json_typed(json_object *o, const char *key, json_type type)
{
        json_object *v;

        if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, key, &v) ||
            !json_object_is_type(v, type))
                return NULL;
        return v;
}

const char *json_str(json_object *o, const char *key)
{
        return json_object_get_string(json_typed(o, key, json_type_string));
}

int64_t json_int(json_object *o, const char *key, int64_t otherwise)
{
        json_object *v = json_typed(o, key, json_type_int);

        return v ? json_object_get_int64(v) : otherwise;
}

bool json_flag(json_object *o, const char *key)
{
        json_object *v = json_typed(o, key, json_type_boolean);

        return v && json_object_get_boolean(v);
}

json_object *json_obj(json_object *o, const char *key)
{
        return json_typed(o, key, json_type_object);
}

json_object *json_arr(json_object *o, const char *key)
{
        return json_typed(o, key, json_type_array);
}

void json_add(json_object *o, const char *key, json_object *value)
{
        if (json_object_object_add(mem_check(o), key, value) < 0)
                mem_check(NULL);
}

size_t utf8_sequence(const unsigned char *s, size_t size)
{
        unsigned char low = 0x80, high = 0xbf; /* of the second byte */
        size_t length = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

        if (length == 1)
                return 1;
        if (s[0] < 0xc2 || s[0] > 0xf4 || length > size)
                return 0;
        if (s[0] == 0xe0)
                low = 0xa0;
        else if (s[0] == 0xed)
                high = 0x9f;
        else if (s[0] == 0xf0)
                low = 0x90;
        else if (s[0] == 0xf4)
                high = 0x8f;
        if (s[1] < low || s[1] > high)
                return 0;
        for (size_t i = 2; i < length; i++)
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
        return length;
}

/* What a QEMU says need not be valid text, and one bad byte would spoil the whole reply it ends up in. */
static json_object *new_text(const char *value)
{
        size_t size = strlen(value);
        json_object *o = mem_check(json_object_new_string_len(value, (int)size));
        char *text = (char *)json_object_get_string(o);

        for (size_t at = 0, n; at < size; at += n) {
                n = utf8_sequence((const unsigned char *)text + at, size - at);
                if (n == 0) {
                        text[at] = '?';
                        n = 1;
                }
        }
        return o;
}

void json_add_str(json_object *o, const char *key, const char *value)
{
        if (value)
                json_add(o, key, new_text(value));
}

void json_add_int(json_object *o, const char *key, int64_t value)
{
        json_add(o, key, mem_check(json_object_new_int64(value)));
}

void json_add_bool(json_object *o, const char *key, bool value)
{
        json_add(o, key, mem_check(json_object_new_boolean(value)));
}

bool name_is_valid(const char *name)
{
        size_t n =
                name ? strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") : 0;

        return n > 0 && n < 64 && !name[n] && isalnum((unsigned char)name[0]);
}

ssize_t send_with_fd(int socket, const void *data, size_t size, int fd, int flags)
{
        union {
                struct cmsghdr header;
                char buffer[CMSG_SPACE(sizeof(int))];
        } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
        struct iovec iov = {(void *)data, size};
        struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n;

        if (fd >= 0) {
                mh.msg_control = control.buffer;
                mh.msg_controllen = sizeof(control.buffer);
                memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
        }
        do
                n = sendmsg(socket, &mh, MSG_NOSIGNAL | flags);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}
