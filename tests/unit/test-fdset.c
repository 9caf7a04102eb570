/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/fdset.h"

#include "fake-qemu.h"

static const struct answer two_sets[] = {
        {"query-fdsets", "",
         "[{\"fdset-id\":4,\"fds\":[{\"fd\":8,\"opaque\":\"a,b\"},{\"fd\":9}]},"
         "{\"fdset-id\":0,\"fds\":[{\"fd\":30,\"opaque\":\"serial0-source\"}]}]"},
        {},
};

static void the_same_sets(void)
{
        static const char *const expected[] = {
                "-add-fd", "fd=150,set=4,opaque=a,,b",           "-add-fd", "fd=151,set=4",
                "-add-fd", "fd=152,set=0,opaque=serial0-source",
        };
        _cleanup_(stop) struct fixture x = start("{}", two_sets);
        const struct destination *d = &x.h->destination;

        EXPECT_INT(fdset_take(x.h, NULL), 0);
        EXPECT_INT(d->cmdline.n, ELEMENTSOF(expected));
        for (size_t i = 0; i < ELEMENTSOF(expected); i++)
                EXPECT_STR(d->cmdline.argv[i], expected[i]);
        EXPECT_INT(d->cmdline_facts.n_fdset, 3);
        EXPECT_INT(d->cmdline_facts.fdset_fds[2], 30);
}

static void what_is_no_answer_is_a_failure(void)
{
        static const struct answer strange[] = {{"query-fdsets", "", "[{\"fdset-id\":1}]"}, {}};
        _cleanup_(stop) struct fixture x = start("{}", strange);
        struct failure f = {};

        EXPECT_INT(fdset_take(x.h, &f), -EBADMSG);
}

/* The files of this test stand for the source's. */
static void they_are_inherited(void)
{
        _cleanup_(stop) struct fixture x = start("{}", NULL);
        _cleanup_(inherit_done) struct inheritance in = {};
        struct cmdline_facts *facts = &x.h->destination.cmdline_facts;

        facts->fdset_fds[facts->n_fdset++] = 2;
        EXPECT_INT(fdset_inherit(x.h, &in, NULL), 0);
        EXPECT_INT(in.n, 1);
        EXPECT_INT(in.fds[0].number, FD_FDSETS);
        facts->fdset_fds[facts->n_fdset++] = 9999;
        EXPECT_INT(fdset_inherit(x.h, &in, NULL), -EBADF);
}

int main(void)
{
        TEST(the_same_sets);
        TEST(what_is_no_answer_is_a_failure);
        TEST(they_are_inherited);
        return 0;
}
