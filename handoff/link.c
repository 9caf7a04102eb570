/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/log.h"
#include "handoff/handoff.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#define RETRY_USEC   (200 * USEC_PER_MSEC)
#define FINISH_TRIES 5

static int connect_socket(struct failure *f)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = HANDOFF_SOCKET};
        struct timeval limit = {.tv_sec = 10};
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
            connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
                failure_set(f, errno, "cannot connect to %s: %s", HANDOFF_SOCKET, strerror(errno));
                return failure_remedy(f, "start cprd.service; cprd-handoff is started by it and not by hand");
        }
        return TAKE_FD(fd);
}

static int say_hello(int fd, const char *id, bool again)
{
        struct handoff_message hello = HANDOFF_MESSAGE(HANDOFF_HELLO, .role = HANDOFF_HELPER, .value = again);

        snprintf(hello.name, sizeof(hello.name), "%s", id);
        return handoff_send(fd, &hello, -EBADF);
}

static int read_order(struct order *o, json_object *line, struct failure *f)
{
        json_object *j = json_obj(line, "order");

        o->id = json_str(j, "id");
        o->name = json_str(j, "name");
        o->caller = json_str(j, "caller") ?: "unknown";
        o->pid = (pid_t)json_int(j, "pid", 0);
        o->start_time = (uint64_t)json_int(j, "startTime", 0);
        o->binary = json_str(j, "binary");
        o->qmp = json_str(j, "qmp");
        o->max_pause = (uint64_t)json_int(j, "maxPause", (int64_t)(2 * USEC_PER_SEC));
        o->begun = (uint64_t)json_int(j, "begun", (int64_t)now_usec());
        o->until = json_str(j, "until") ?: "retire";
        if (!name_is_valid(o->id) || !name_is_valid(o->name) || o->pid <= 0 || !o->qmp)
                return failure_set(f, EBADMSG, "the order is not complete");
        o->json = json_object_get(line);
        return 0;
}

static int take_journal(struct handoff *h, int fd, struct failure *f)
{
        _cleanup_json_ json_object *line = NULL;
        int r = journal_open(fd, true, &h->journal, f);

        if (r >= 0)
                r = journal_next(h->journal, &line, f);
        if (r == 0)
                r = failure_set(f, EBADMSG, "the journal has no order");
        if (r > 0)
                r = read_order(&h->order, line, f);
        if (r >= 0)
                log_set_context(h->order.name, h->order.id);
        return r;
}

/* Takes one of the messages before BEGIN. */
static int take_message(struct handoff *h, const struct handoff_message *m, int fd, struct failure *f)
{
        _cleanup_close_ int mine = fd;

        switch (m->op) {
        case HANDOFF_ORDER:
                return take_journal(h, TAKE_FD(mine), f);
        case HANDOFF_DEVICE:
                close_fd(h->device);
                h->device = TAKE_FD(mine);
                h->facts.source.cid = (int64_t)m->value;
                return 0;
        case HANDOFF_PROCESS: {
                struct process *p = m->role == HANDOFF_SOURCE ? &h->source.process : &h->destination.process;
                int r;

                process_close(p);
                r = process_adopt(p, mine, NULL);
                /* One that has exited meanwhile is no process any more; the stages will see that it is
                 * missing. */
                if (r >= 0)
                        TAKE_FD(mine);
                return 0;
        }
        case HANDOFF_BEGIN:
                return 1;
        default:
                return failure_set(f, EBADMSG, "cprd sent %s before BEGIN", handoff_op_name(m->op));
        }
}

int link_connect(struct handoff *h, struct failure *f)
{
        int r;

        h->link.fd = connect_socket(f);
        if (h->link.fd < 0)
                return h->link.fd;
        r = say_hello(h->link.fd, h->order.id, false);
        while (r == 0) {
                struct handoff_message m;
                int fd;

                r = handoff_receive(h->link.fd, &m, &fd, f);
                if (r == 0)
                        r = failure_set(f, ECONNRESET, "cprd ended the connection");
                if (r > 0)
                        r = take_message(h, &m, fd, f);
        }
        if (r < 0)
                return failure_set(f, r, "no order from cprd: %s", strerror(-r));
        if (!h->journal)
                return failure_set(f, EBADMSG, "cprd sent no order");
        return fcntl(h->link.fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

static void lose(struct handoff *h)
{
        h->link.fd = close_fd(h->link.fd);
        h->link.retry = now_usec() + RETRY_USEC;
}

void link_tell(struct handoff *h, int op, int role, uint64_t value, int pass_fd)
{
        struct handoff_message m = HANDOFF_MESSAGE((uint16_t)op, .role = (uint32_t)role, .value = value);

        snprintf(m.name, sizeof(m.name), "%s", h->order.id);
        if (h->link.fd >= 0 && handoff_send(h->link.fd, &m, pass_fd) < 0)
                lose(h);
}

static void come_back(struct handoff *h)
{
        if (now_usec() < h->link.retry)
                return;
        h->link.retry = now_usec() + RETRY_USEC;
        h->link.fd = connect_socket(NULL);
        if (h->link.fd < 0)
                return;
        if (fcntl(h->link.fd, F_SETFL, O_NONBLOCK) < 0 || say_hello(h->link.fd, h->order.id, true) < 0)
                return lose(h);
        if (h->device >= 0)
                link_tell(h, HANDOFF_DEVICE, 0, (uint64_t)h->facts.source.cid, h->device);
        if (h->destination.process.pidfd >= 0)
                link_tell(h, HANDOFF_PROCESS, HANDOFF_DESTINATION, 0, h->destination.process.pidfd);
        link_tell(h, HANDOFF_RECORD, 0, 0, -EBADF);
}

void link_read(struct handoff *h)
{
        if (h->link.fd < 0)
                return come_back(h);
        for (;;) {
                struct handoff_message m;
                struct failure f = {};
                int fd, r = handoff_receive(h->link.fd, &m, &fd, &f);

                if (r == -EAGAIN)
                        return;
                if (r <= 0)
                        return lose(h);
                close_fd(fd);
                if (m.op == HANDOFF_ABORT)
                        h->aborted = true;
        }
}

void link_finish(struct handoff *h)
{
        for (int try = 0; h->link.fd < 0 && try < FINISH_TRIES; try++) {
                if (try)
                        nanosleep(&(struct timespec){.tv_nsec = RETRY_USEC * NSEC_PER_USEC}, NULL);
                h->link.retry = 0;
                come_back(h);
        }
        link_tell(h, HANDOFF_RECORD, 0, 0, -EBADF);
        link_tell(h, HANDOFF_DONE, 0, 0, -EBADF);
}
