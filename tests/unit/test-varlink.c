/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The wire codec: input in pieces, in bulk, and from somebody with bad intentions. */
#include "proto/varlink.h"
#include "test.h"

#include <fcntl.h>
#include <sys/socket.h>

static struct varlink *pair(int *ret_other)
{
        struct varlink *v;
        int fds[2];

        EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        EXPECT_INT(varlink_new(fds[0], &v), 0);
        *ret_other = fds[1];
        return v;
}

static void put(int fd, const char *bytes, size_t size)
{
        EXPECT_INT(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

static void in_pieces(void)
{
        static const char text[] = "{\"method\":\"a.B\",\"parameters\":{\"x\":1}}";
        _cleanup_(varlink_freep) struct varlink *v = NULL;
        _cleanup_close_ int other = -EBADF;
        _cleanup_json_ json_object *o = NULL;

        v = pair(&other);
        EXPECT_INT(varlink_fill(v), -EAGAIN);
        for (size_t i = 0; i < sizeof(text); i++) {
                EXPECT_INT(varlink_next(v, &o, NULL), 0);
                put(other, text + i, 1);
                EXPECT_INT(varlink_fill(v), 1);
        }
        EXPECT_INT(varlink_next(v, &o, NULL), 1);
        EXPECT_STR(json_str(o, "method"), "a.B");
        EXPECT_INT(json_int(json_obj(o, "parameters"), "x", 0), 1);
        other = close_fd(other);
        EXPECT_INT(varlink_fill(v), 0);
}

static void several_at_once(void)
{
        static const char text[] = "{\"a\":1}\0{\"a\":2}\0{\"a\":3";
        _cleanup_(varlink_freep) struct varlink *v = NULL;
        _cleanup_close_ int other = -EBADF;
        json_object *o;

        v = pair(&other);
        put(other, text, sizeof(text) - 1);
        EXPECT_INT(varlink_fill(v), 1);
        for (int i = 1; i <= 2; i++) {
                EXPECT_INT(varlink_next(v, &o, NULL), 1);
                EXPECT_INT(json_int(o, "a", 0), i);
                json_object_put(o);
        }
        EXPECT_INT(varlink_next(v, &o, NULL), 0);
        put(other, "}", 2);
        EXPECT_INT(varlink_fill(v), 1);
        EXPECT_INT(varlink_next(v, &o, NULL), 1);
        EXPECT_INT(json_int(o, "a", 0), 3);
        json_object_put(o);
}

/* Every length of a sequence, and both ends of the ranges. */
static void beyond_ascii(void)
{
        static const char text[] =
                "{\"a\":\"\\\\\xc2\x80 \xe2\x80\xa6 \xed\x9f\xbf \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf\"}";
        _cleanup_(varlink_freep) struct varlink *v = NULL;
        _cleanup_close_ int other = -EBADF;
        _cleanup_json_ json_object *o = NULL;

        v = pair(&other);
        put(other, text, sizeof(text));
        EXPECT_INT(varlink_fill(v), 1);
        EXPECT_INT(varlink_next(v, &o, NULL), 1);
        EXPECT_STR(json_str(o, "a"),
                   "\\\xc2\x80 \xe2\x80\xa6 \xed\x9f\xbf \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf");
}

static void expect_bad(const char *bytes, size_t size, const char *why)
{
        _cleanup_(varlink_freep) struct varlink *v = NULL;
        _cleanup_close_ int other = -EBADF;
        struct failure f = {};
        json_object *o;

        v = pair(&other);
        put(other, bytes, size);
        EXPECT_INT(varlink_fill(v), 1);
        if (varlink_next(v, &o, &f) != -EBADMSG)
                FAIL("\"%s\" was taken", bytes);
        if (!strstr(f.what, why))
                FAIL("\"%s\" does not say \"%s\"", f.what, why);
}

#define EXPECT_BAD(text, why) expect_bad(text, sizeof(text), why)

static void malformed(void)
{
        EXPECT_BAD("", "not JSON");
        EXPECT_BAD("{", "not JSON");
        EXPECT_BAD("[]", "not a JSON object");
        EXPECT_BAD("1", "not JSON"); /* a number has no end of its own */
        EXPECT_BAD("null", "not JSON");
        EXPECT_BAD("{} {}", "not JSON");
        EXPECT_BAD("{\"a\":\"\xff\"}", "not JSON");
        EXPECT_BAD("{\"a\":\"\xc0\xaf\"}", "not UTF-8");         /* overlong */
        EXPECT_BAD("{\"a\":\"\xed\xa0\x80\"}", "not UTF-8");     /* a surrogate */
        EXPECT_BAD("{\"a\":\"\xf4\x90\x80\x80\"}", "not UTF-8"); /* beyond U+10FFFF */
        EXPECT_BAD("{\"a\":\"\xe2\x80\"}", "not UTF-8");
        EXPECT_BAD("{\"a\":\"\\\xe2\x80\xa6\"}", "not JSON");
        EXPECT_BAD("{\xe2\x80\xa6:1}", "not JSON");
        EXPECT_BAD("{\"a\":1,}", "not JSON");
        EXPECT_BAD("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
                   "not JSON");
}

static void too_long(void)
{
        _cleanup_(varlink_freep) struct varlink *v = NULL;
        _cleanup_close_ int other = -EBADF;
        char chunk[8192];
        json_object *o;
        size_t sent = 0;
        int r = 0;

        memset(chunk, ' ', sizeof(chunk));
        v = pair(&other);
        while (r == 0 && sent < 2 * VARLINK_MESSAGE_MAX) {
                put(other, chunk, sizeof(chunk));
                sent += sizeof(chunk);
                EXPECT_INT(varlink_fill(v), 1);
                r = varlink_next(v, &o, NULL);
        }
        EXPECT_INT(r, -EBADMSG);
        EXPECT(sent <= VARLINK_MESSAGE_MAX + 2 * sizeof(chunk));
}

/* A whole message through both sides, larger than the socket takes at once. */
static void large(void)
{
        _cleanup_(varlink_freep) struct varlink *v = NULL, *w = NULL;
        _cleanup_json_ json_object *o = json_object_new_object(), *got = NULL;
        _cleanup_free_ char *text = malloc(700001);
        int other, r;

        memset(text, 'x', 700000);
        text[700000] = '\0';
        json_add_str(o, "text", text);
        v = pair(&other);
        EXPECT_INT(varlink_new(other, &w), 0);
        EXPECT_INT(varlink_queue(v, o), 0);
        EXPECT_INT(varlink_flush(v), 1);
        do {
                r = varlink_fill(w);
                EXPECT(r == 1 || r == -EAGAIN);
                EXPECT(varlink_flush(v) >= 0);
                r = varlink_next(w, &got, NULL);
                EXPECT(r >= 0);
        } while (r == 0);
        EXPECT_STR(json_str(got, "text"), text);
}

/* An fd that comes with a message never becomes ours: closing it could hang. */
static void fd_with_a_message(void)
{
        _cleanup_(varlink_freep) struct varlink *v = NULL;
        _cleanup_json_ json_object *o = NULL;
        int other, pipe_fds[2], before, after;
        char c;

        v = pair(&other);
        EXPECT(pipe2(pipe_fds, O_CLOEXEC) == 0);
        before = dup(pipe_fds[0]);
        close(before);
        EXPECT_INT(send_with_fd(other, "{}", 3, pipe_fds[1], 0), 3);
        close(pipe_fds[1]);
        EXPECT_INT(varlink_fill(v), 1);
        EXPECT_INT(varlink_next(v, &o, NULL), 1);
        after = dup(pipe_fds[0]);
        EXPECT(after <= before);
        close(after);
        EXPECT_INT(read(pipe_fds[0], &c, 1), 0);
        close(pipe_fds[0]);
        close(other);
}

static void limit(void)
{
        _cleanup_(varlink_freep) struct varlink *v = NULL;
        _cleanup_json_ json_object *o = NULL;
        int other;

        v = pair(&other);
        varlink_limit(v, 8);
        put(other, "{\"a\":11}", 9);
        EXPECT_INT(varlink_fill(v), 1);
        EXPECT_INT(varlink_next(v, &o, NULL), 1);
        put(other, "{\"a\":111}", 10);
        EXPECT_INT(varlink_fill(v), 1);
        EXPECT_INT(varlink_next(v, &o, NULL), -EBADMSG);
        close(other);
}

static void slow_reader(void)
{
        _cleanup_(varlink_freep) struct varlink *v = NULL;
        _cleanup_close_ int other = -EBADF;
        _cleanup_json_ json_object *o = json_object_new_object();
        _cleanup_free_ char *text = calloc(1, 600001);
        int r = 0, n = 0;

        memset(text, 'x', 600000);
        json_add_str(o, "text", text);
        v = pair(&other);
        while (r == 0 && n++ < 100)
                r = varlink_queue(v, o);
        EXPECT_INT(r, -ENOBUFS);
        other = close_fd(other);
        EXPECT(varlink_flush(v) < 0);
}

static void shapes(void)
{
        _cleanup_json_ json_object *call = varlink_call("a.B", NULL, true),
                                   *reply = varlink_reply(NULL, true),
                                   *last = varlink_reply(json_object_new_object(), false),
                                   *error = varlink_error("a.E", NULL);

        EXPECT_STR(json_object_to_json_string_ext(call, JSON_C_TO_STRING_PLAIN),
                   "{\"method\":\"a.B\",\"more\":true}");
        EXPECT_STR(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN),
                   "{\"parameters\":{},\"continues\":true}");
        EXPECT_STR(json_object_to_json_string_ext(last, JSON_C_TO_STRING_PLAIN), "{\"parameters\":{}}");
        EXPECT_STR(json_object_to_json_string_ext(error, JSON_C_TO_STRING_PLAIN),
                   "{\"error\":\"a.E\",\"parameters\":{}}");
}

int main(void)
{
        TEST(in_pieces);
        TEST(several_at_once);
        TEST(beyond_ascii);
        TEST(malformed);
        TEST(too_long);
        TEST(large);
        TEST(fd_with_a_message);
        TEST(limit);
        TEST(slow_reader);
        TEST(shapes);
        return 0;
}
