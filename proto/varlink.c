/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proto/varlink.h"

#include <sys/socket.h>

#define CHUNK 16384

/* A queued message. */
struct outgoing {
        struct outgoing *next;
        size_t size, sent;
        char bytes[];
};

struct varlink {
        int fd;
        char *in;
        size_t in_size, in_room;
        size_t scanned; /* bytes of `in` already searched for a NUL */
        size_t limit;   /* of a received message */
        struct outgoing *out, **out_end;
        size_t out_size;
};

int varlink_new(int fd, struct varlink **ret)
{
        struct varlink *v = mem_new(1, sizeof(*v));

        v->fd = fd;
        v->limit = VARLINK_MESSAGE_MAX;
        v->out_end = &v->out;
        *ret = v;
        return 0;
}

void varlink_limit(struct varlink *v, size_t limit)
{
        v->limit = limit;
}

static void outgoing_pop(struct varlink *v)
{
        struct outgoing *o = v->out;

        v->out = o->next;
        if (!v->out)
                v->out_end = &v->out;
        v->out_size -= o->size;
        free(o);
}

struct varlink *varlink_free(struct varlink *v)
{
        if (!v)
                return NULL;
        while (v->out)
                outgoing_pop(v);
        close_fd(v->fd);
        free(v->in);
        free(v);
        return NULL;
}

int varlink_fd(const struct varlink *v)
{
        return v->fd;
}

static void make_room(struct varlink *v)
{
        size_t room = v->in_room ? v->in_room * 2 : CHUNK;

        if (v->in_room - v->in_size >= CHUNK)
                return;
        while (room - v->in_size < CHUNK)
                room *= 2;
        v->in = mem_resize(v->in, room);
        v->in_room = room;
}

int varlink_fill(struct varlink *v)
{
        ssize_t n;

        make_room(v);
        /* No room for control data, so that fds somebody sends along never become ours: closing one on a file
         * system whose server hangs would hang us. */
        do
                n = recv(v->fd, v->in + v->in_size, v->in_room - v->in_size, 0);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        v->in_size += (size_t)n;
        return n > 0;
}

static uint32_t utf8_decode(const unsigned char *s, size_t length)
{
        uint32_t c = length == 1 ? s[0] : s[0] & (0x7fU >> length);

        for (size_t i = 1; i < length; i++)
                c = c << 6 | (s[i] & 0x3fU);
        return c;
}

static char *append_escape(char *to, uint32_t c)
{
        if (c < 0x10000)
                return to + sprintf(to, "\\u%04x", c);
        c -= 0x10000;
        return to + sprintf(to, "\\u%04x\\u%04x", 0xd800 | c >> 10, 0xdc00 | (c & 0x3ff));
}

/* @text with \u escapes for everything that is not ASCII; NULL: not UTF-8, or no memory. The strict mode of
 * json-c 0.18 takes every byte from 0x80 up for a control character and refuses it. */
static char *to_ascii(const char *text, size_t size, size_t *ret_size)
{
        const unsigned char *s = (const unsigned char *)text, *end = s + size;
        char *ascii = malloc(3 * size + 1), *to = ascii;
        bool escaped = false; /* by the backslash before it */

        while (ascii && s < end) {
                size_t n = utf8_sequence(s, (size_t)(end - s));

                if (n == 0 || (n > 1 && escaped)) {
                        free(ascii);
                        return NULL;
                }
                escaped = *s == '\\' && !escaped;
                if (n == 1)
                        *to++ = (char)*s;
                else
                        to = append_escape(to, utf8_decode(s, n));
                s += n;
        }
        *ret_size = ascii ? (size_t)(to - ascii) : 0;
        return ascii;
}

static int parse(const char *text, size_t size, json_object **ret, struct failure *f)
{
        _cleanup_free_ char *ascii = to_ascii(text, size, &size);
        _cleanup_json_ json_object *o = NULL;
        enum json_tokener_error e;
        struct json_tokener *t;

        if (!ascii)
                return failure_set(f, EBADMSG, "not JSON: not UTF-8");
        t = json_tokener_new_ex(VARLINK_DEPTH_MAX);
        if (!t)
                return -ENOMEM;
        json_tokener_set_flags(t, JSON_TOKENER_STRICT);
        o = json_tokener_parse_ex(t, ascii, (int)size);
        e = json_tokener_get_error(t);
        if (e == json_tokener_success && json_tokener_get_parse_end(t) < size)
                e = json_tokener_error_parse_unexpected;
        json_tokener_free(t);
        if (e != json_tokener_success)
                return failure_set(f, EBADMSG, "not JSON: %s", json_tokener_error_desc(e));
        if (!json_object_is_type(o, json_type_object))
                return failure_set(f, EBADMSG, "not a JSON object");
        *ret = TAKE_PTR(o);
        return 1;
}

int varlink_next(struct varlink *v, json_object **ret, struct failure *f)
{
        size_t length;
        char *end;
        int r;

        end = v->in_size > v->scanned ? memchr(v->in + v->scanned, '\0', v->in_size - v->scanned) : NULL;
        length = end ? (size_t)(end - v->in) : v->in_size;
        if (length > v->limit)
                return failure_set(f, EBADMSG, "a message of more than %zu bytes", v->limit);
        if (!end) {
                v->scanned = v->in_size;
                return 0;
        }
        r = parse(v->in, length, ret, f);
        v->in_size -= length + 1;
        v->scanned = 0;
        memmove(v->in, end + 1, v->in_size);
        if (v->in_size == 0 && v->in_room > 4 * CHUNK) {
                /* One long message must not hold on to its memory for the life of the connection. */
                free(TAKE_PTR(v->in));
                v->in_room = 0;
        }
        return r;
}

int varlink_queue(struct varlink *v, json_object *message)
{
        size_t size;
        const char *text = json_object_to_json_string_length(
                message, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
        struct outgoing *o;

        if (v->out_size + size + 1 > VARLINK_QUEUE_MAX)
                return -ENOBUFS;
        o = mem_new(1, sizeof(*o) + size + 1);
        o->size = size + 1;
        memcpy(o->bytes, text, size + 1);
        *v->out_end = o;
        v->out_end = &o->next;
        v->out_size += o->size;
        return 0;
}

int varlink_flush(struct varlink *v)
{
        while (v->out) {
                ssize_t n =
                        send(v->fd, v->out->bytes + v->out->sent, v->out->size - v->out->sent, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? 1 : -errno;
                v->out->sent += (size_t)n;
                if (v->out->sent == v->out->size)
                        outgoing_pop(v);
        }
        return 0;
}

json_object *varlink_call(const char *method, json_object *parameters, bool more)
{
        json_object *o = json_object_new_object();

        json_add_str(o, "method", method);
        if (parameters)
                json_add(o, "parameters", parameters);
        if (more)
                json_add_bool(o, "more", true);
        return o;
}

json_object *varlink_reply(json_object *parameters, bool continues)
{
        json_object *o = json_object_new_object();

        json_add(o, "parameters", parameters ?: json_object_new_object());
        if (continues)
                json_add_bool(o, "continues", true);
        return o;
}

json_object *varlink_error(const char *error, json_object *parameters)
{
        json_object *o = json_object_new_object();

        json_add_str(o, "error", error);
        json_add(o, "parameters", parameters ?: json_object_new_object());
        return o;
}
