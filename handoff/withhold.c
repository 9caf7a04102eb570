/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/withhold.h"

#include <linux/vhost.h>
#include <sys/ioctl.h>

static int record(struct withhold *w, struct tracee *t, int fd, uint64_t request, uint64_t argument)
{
        struct withheld *call = &w->calls[w->n];
        uint32_t size = _IOC_DIR(request) & _IOC_WRITE ? _IOC_SIZE(request) : 0;

        if (w->n == WITHHELD_MAX || size > sizeof(call->payload))
                return -E2BIG;
        *call = (struct withheld){.fd = fd, .request = (uint32_t)request, .payload_size = size};
        w->n++;
        return size ? tracee_read(t, argument, call->payload, size) : 0;
}

int withhold_note(struct withhold *w, struct tracee *t, const struct tracee_call *call, bool withheld)
{
        int r;

        if (!call->entering) {
                if (!w->skipping)
                        return 0;
                w->skipping = false;
                return tracee_set_result(t, 0);
        }
        if (!withheld)
                return 0;
        w->skipping = true;
        r = record(w, t, (int)call->arguments[0], call->arguments[1], call->arguments[2]);
        return r < 0 ? r : tracee_skip_call(t);
}

int withhold_replay(const struct withhold *w, struct tracee *t, uint64_t deadline, struct failure *f)
{
        struct injection calls[WITHHELD_MAX];

        for (size_t i = 0; i < w->n; i++) {
                calls[i] = INJECT_IOCTL(w->calls[i].fd, w->calls[i].request);
                calls[i].payload_size = w->calls[i].payload_size;
                memcpy(calls[i].payload, w->calls[i].payload, w->calls[i].payload_size);
        }
        return inject_calls(t, calls, w->n, deadline, f);
}

bool withhold_has(const struct withhold *w, uint32_t request)
{
        for (size_t i = 0; i < w->n; i++)
                if (w->calls[i].request == request)
                        return true;
        return false;
}

uint64_t withhold_value(const struct withhold *w, uint32_t request)
{
        uint64_t value = 0;

        for (size_t i = 0; i < w->n; i++)
                if (w->calls[i].request == request && w->calls[i].payload_size == sizeof(value))
                        memcpy(&value, w->calls[i].payload, sizeof(value));
        return value;
}
