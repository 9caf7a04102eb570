/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The smallest program in which the shield's slot is found. Built by the runner, as a seed. */
int vhost_vsock_common_post_load(void *opaque, int version);

int vhost_vsock_common_post_load(void *opaque, int version)
{
        return 0;
}

static const struct {
        const char *name;
        long more[3];
        int (*post_load)(void *opaque, int version);
} vmstate = {"virtio-vhost_vsock", {0}, vhost_vsock_common_post_load};

const void *volatile keep;

void _start(void);
void _start(void)
{
        keep = &vmstate;
        for (;;)
                ;
}
