/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/journal.h"

#include <fcntl.h>
#include <sys/stat.h>

#define JOURNAL_MAX (4U << 20) /* a handoff writes some 20 kB */

struct journal {
        int fd;
        off_t read_to; /* end of the last whole line that journal_next() returned */
        char *pending; /* data read beyond that, from pending_at on */
        size_t pending_at, pending_size;
};

/* Where the last whole line ends: after it there is at most what a dying writer left. */
static int whole_size(int fd, off_t *ret)
{
        struct stat st;
        char block[4096];

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size > (off_t)JOURNAL_MAX)
                return -EBADMSG;
        for (off_t end = st.st_size, start; end > 0; end = start) {
                char *newline;

                start = end > (off_t)sizeof(block) ? end - (off_t)sizeof(block) : 0;
                if (pread(fd, block, (size_t)(end - start), start) != end - start)
                        return -EIO;
                newline = memrchr(block, '\n', (size_t)(end - start));
                if (newline) {
                        *ret = start + (newline - block) + 1;
                        return 0;
                }
        }
        *ret = 0;
        return 0;
}

int journal_open(int fd, bool writable, struct journal **ret, struct failure *f)
{
        _cleanup_(journal_freep) struct journal *j = calloc(1, sizeof(*j));
        _cleanup_close_ int mine = fd;
        off_t size = 0;
        int r;

        if (!j)
                return -ENOMEM;
        j->fd = TAKE_FD(mine);
        r = whole_size(j->fd, &size);
        if (r < 0)
                return failure_set(f, r, "the handoff's journal is not usable: %s", strerror(-r));
        if (writable && (ftruncate(j->fd, size) < 0 || fcntl(j->fd, F_SETFL, O_APPEND) < 0))
                return failure_set(f, errno, "cannot write the handoff's journal: %s", strerror(errno));
        *ret = TAKE_PTR(j);
        return 0;
}

struct journal *journal_free(struct journal *j)
{
        if (!j)
                return NULL;
        close_fd(j->fd);
        free(j->pending);
        free(j);
        return NULL;
}

int journal_append(struct journal *j, const char *kind, json_object *value)
{
        _cleanup_json_ json_object *line = json_object_new_object();
        _cleanup_free_ char *text = NULL;
        int n;

        json_add(line, kind, value);
        n = asprintf(&text, "%s\n",
                     json_object_to_json_string_ext(line,
                                                    JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        if (n < 0)
                return -ENOMEM;
        /* One write at the end of the file. There is one writer; a torn line is cut off by the next. */
        for (int at = 0; at < n;) {
                ssize_t w = write(j->fd, text + at, (size_t)(n - at));

                if (w < 0 && errno == EINTR)
                        continue;
                if (w < 0) {
                        int r = -errno;

                        /* Half a line would corrupt the next one. */
                        return at && ftruncate(j->fd, lseek(j->fd, 0, SEEK_END) - at) < 0 ? -errno : r;
                }
                at += (int)w;
        }
        return 0;
}

/* Reads from the first line not yet returned. Anything already read of an unfinished line is read again,
 * since it may have been cut off and rewritten. */
static int journal_fill(struct journal *j)
{
        struct stat st;
        size_t more;
        char *p;

        j->pending_at = j->pending_size = 0;
        if (fstat(j->fd, &st) < 0)
                return -errno;
        if (st.st_size > (off_t)JOURNAL_MAX)
                return -EBADMSG;
        if (st.st_size <= j->read_to)
                return 0;
        more = (size_t)(st.st_size - j->read_to);
        p = realloc(j->pending, more);
        if (!p)
                return -ENOMEM;
        j->pending = p;
        while (j->pending_size < more) {
                ssize_t n = pread(j->fd, p + j->pending_size, more - j->pending_size,
                                  j->read_to + (off_t)j->pending_size);

                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        break;
                j->pending_size += n > 0 ? (size_t)n : 0;
        }
        return 0;
}

static char *next_newline(struct journal *j)
{
        size_t left = j->pending_size - j->pending_at;

        return left ? memchr(j->pending + j->pending_at, '\n', left) : NULL;
}

int journal_next(struct journal *j, json_object **ret_line, struct failure *f)
{
        _cleanup_json_ json_object *line = NULL;
        char *end = next_newline(j), *text;
        int r = end ? 0 : journal_fill(j);

        if (r < 0)
                return failure_set(f, r, "cannot read the handoff's journal: %s", strerror(-r));
        if (!end)
                end = next_newline(j);
        if (!end)
                return 0;
        text = j->pending + j->pending_at;
        *end = '\0';
        line = json_tokener_parse(text);
        j->read_to += end + 1 - text;
        j->pending_at += (size_t)(end + 1 - text);
        if (!json_object_is_type(line, json_type_object))
                return failure_set(f, EBADMSG, "the handoff's journal has a line that is not a JSON object");
        *ret_line = TAKE_PTR(line);
        return 1;
}

bool journal_has_more(struct journal *j)
{
        return next_newline(j) || (journal_fill(j) >= 0 && next_newline(j));
}
