/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The VMM half: the device, the guest's memory, the rings. Source of the ioctls' meaning: linux/vhost.h and
 * the kernel's drivers/vhost. */

#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vmm-internal.h"

#define VMM_RING_DEFAULT 128
#define VMM_BUF_ALLOC    (256 * 1024)
#define VMM_DEVICE_RINGS 2

static int vhost_ioctl(const struct vmm *vmm, unsigned long request, const void *argument)
{
        return ioctl(vmm->device_fd, request, argument) < 0 ? -errno : 0;
}

void vmm_complain(struct vmm *vmm, const char *format, ...)
{
        struct guest *guest = &vmm->memory->guest;
        va_list ap;

        if (guest->complaint[0])
                return;
        va_start(ap, format);
        vsnprintf(guest->complaint, sizeof(guest->complaint), format, ap);
        va_end(ap);
}

/* ---- rings ---- */

void vmm_ring_publish(struct vmm *vmm, int ring, uint32_t size)
{
        struct guest *guest = &vmm->memory->guest;
        struct guest_ring *memory = &vmm->memory->rings[ring];
        struct ring_state *state = &guest->ring[ring];
        uint16_t slot = state->available % guest->ring_size;

        memory->descriptors[slot] = (struct vring_desc){
                .addr = (uint64_t)((uint8_t *)memory->buffers[slot] - (uint8_t *)vmm->memory),
                .len = size,
                .flags = ring == VMM_RX ? VRING_DESC_F_WRITE : 0,
        };
        memory->available.entries[slot] = slot;
        __atomic_store_n(&memory->available.index, ++state->available, __ATOMIC_RELEASE);
}

unsigned vmm_ring_outstanding(const struct vmm *vmm, int ring)
{
        const struct ring_state *state = &vmm->memory->guest.ring[ring];

        return (uint16_t)(state->available - state->used);
}

bool vmm_ring_has_used(const struct vmm *vmm, int ring)
{
        return __atomic_load_n(&vmm->memory->rings[ring].used.index, __ATOMIC_ACQUIRE) !=
               vmm->memory->guest.ring[ring].used;
}

void vmm_ring_notify(struct vmm *vmm, int ring)
{
        /* The device must see the index before we look whether it wants to be told. */
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!(__atomic_load_n(&vmm->memory->rings[ring].used.flags, __ATOMIC_RELAXED) &
              VRING_USED_F_NO_NOTIFY))
                vmm_kick(vmm, ring);
}

void vmm_kick(struct vmm *vmm, int ring)
{
        if (vmm->kick_fd[ring] >= 0)
                (void)eventfd_write(vmm->kick_fd[ring], 1);
}

unsigned vmm_guest_tx_pending(struct vmm *vmm)
{
        struct guest *guest = &vmm->memory->guest;

        guest->ring[VMM_TX].used = __atomic_load_n(&vmm->memory->rings[VMM_TX].used.index, __ATOMIC_ACQUIRE);
        return vmm_ring_outstanding(vmm, VMM_TX);
}

/* ---- making and freeing ---- */

static bool memory_is_valid(const struct guest *guest)
{
        return guest->magic == GUEST_MAGIC && guest->ring_size >= 1 && guest->ring_size <= VMM_RING_MAX &&
               (guest->ring_size & (guest->ring_size - 1)) == 0 &&
               guest->n_connections <= VMM_CONNECTIONS_MAX;
}

/* Takes over both fds, also on failure. */
static int vmm_map(int device_fd, int memory_fd, struct vmm **ret_vmm)
{
        _cleanup_close_ int device = device_fd;
        _cleanup_close_ int memory = memory_fd;
        struct vmm *vmm;
        struct stat st;
        void *map;

        if (fstat(memory, &st) < 0)
                return -errno;
        if (st.st_size != (off_t)sizeof(struct guest_memory))
                return -EBADMSG;
        map = mmap(NULL, sizeof(struct guest_memory), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
        if (map == MAP_FAILED)
                return -errno;
        vmm = calloc(1, sizeof(*vmm));
        if (!vmm) {
                munmap(map, sizeof(struct guest_memory));
                return -ENOMEM;
        }
        *vmm = (struct vmm){
                .device_fd = TAKE_FD(device),
                .memory_fd = TAKE_FD(memory),
                .kick_fd = {-EBADF, -EBADF},
                .call_fd = {-EBADF, -EBADF},
                .error_fd = -EBADF,
                .memory = map,
        };
        *ret_vmm = vmm;
        return 0;
}

int vmm_adopt(int device_fd, int memory_fd, struct vmm **ret_vmm)
{
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        int r;

        r = vmm_map(device_fd, memory_fd, &vmm);
        if (r < 0)
                return r;
        if (!memory_is_valid(&vmm->memory->guest))
                return -EBADMSG;
        *ret_vmm = TAKE_PTR(vmm);
        return 0;
}

int vmm_new(const struct vmm_config *config, int device_fd, struct vmm **ret_vmm)
{
        _cleanup_close_ int device = device_fd >= 0 ? device_fd : open(VMM_DEVICE, O_RDWR | O_CLOEXEC);
        _cleanup_close_ int memory = memfd_create("fake-guest", MFD_CLOEXEC);
        _cleanup_(vmm_freep) struct vmm *vmm = NULL;
        struct guest *guest;
        int r;

        if (device < 0 || memory < 0)
                return -errno;
        if (ftruncate(memory, sizeof(struct guest_memory)) < 0)
                return -errno;
        r = vmm_map(TAKE_FD(device), TAKE_FD(memory), &vmm);
        if (r < 0)
                return r;
        guest = &vmm->memory->guest;
        guest->magic = GUEST_MAGIC;
        guest->cid = config->cid;
        guest->ring_size = config->ring_size ? config->ring_size : VMM_RING_DEFAULT;
        guest->buf_alloc = config->buf_alloc ? config->buf_alloc : VMM_BUF_ALLOC;
        guest->seqpacket = !config->no_seqpacket;
        guest->refill = true;
        if (!memory_is_valid(guest))
                return -EINVAL;
        *ret_vmm = TAKE_PTR(vmm);
        return 0;
}

void vmm_close_eventfds(struct vmm *vmm)
{
        for (int ring = 0; ring < VMM_RINGS; ring++) {
                vmm->kick_fd[ring] = close_fd(vmm->kick_fd[ring]);
                vmm->call_fd[ring] = close_fd(vmm->call_fd[ring]);
        }
        vmm->error_fd = close_fd(vmm->error_fd);
}

void vmm_free(struct vmm *vmm)
{
        if (!vmm)
                return;
        vmm_close_eventfds(vmm);
        close_fd(vmm->device_fd);
        close_fd(vmm->memory_fd);
        munmap(vmm->memory, sizeof(struct guest_memory));
        free(vmm);
}

void vmm_freep(struct vmm **vmm)
{
        vmm_free(*vmm);
}

/* ---- ownership and running ---- */

int vmm_claim(struct vmm *vmm)
{
        int r;

        r = vhost_ioctl(vmm, VHOST_SET_OWNER, NULL);
        if (r < 0)
                return r;
        vmm->memory->guest.stats.claims++;
        return 0;
}

int vmm_release(struct vmm *vmm)
{
        return vhost_ioctl(vmm, VHOST_RESET_OWNER, NULL);
}

int vmm_set_cid(struct vmm *vmm, uint32_t cid)
{
        uint64_t guest_cid = cid;

        return vhost_ioctl(vmm, VHOST_VSOCK_SET_GUEST_CID, &guest_cid);
}

static int configure_memory(struct vmm *vmm)
{
        union {
                struct vhost_memory table;
                char space[sizeof(struct vhost_memory) + sizeof(struct vhost_memory_region)];
        } memory = {.table.nregions = 1};
        uint64_t features = (1ULL << VIRTIO_F_VERSION_1);
        int r;

        memory.table.regions[0].memory_size = sizeof(struct guest_memory);
        memory.table.regions[0].userspace_addr = (uintptr_t)vmm->memory;
        if (vmm->memory->guest.seqpacket)
                features |= 1ULL << VIRTIO_VSOCK_F_SEQPACKET;
        r = vhost_ioctl(vmm, VHOST_SET_FEATURES, &features);
        if (r < 0)
                return r;
        return vhost_ioctl(vmm, VHOST_SET_MEM_TABLE, &memory);
}

static int configure_ring(struct vmm *vmm, unsigned ring)
{
        struct guest_ring *memory = &vmm->memory->rings[ring];
        /* Everything before the used index has been used, and in order: that is the base. A dead owner could
         * not be asked for it. */
        struct vhost_vring_state base = {ring, memory->used.index};
        struct vhost_vring_state size = {ring, vmm->memory->guest.ring_size};
        struct vhost_vring_addr address = {
                .index = ring,
                .desc_user_addr = (uintptr_t)memory->descriptors,
                .avail_user_addr = (uintptr_t)&memory->available,
                .used_user_addr = (uintptr_t)&memory->used,
        };
        struct vhost_vring_file kick = {ring, vmm->kick_fd[ring]};
        struct vhost_vring_file call = {ring, vmm->call_fd[ring]};
        struct vhost_vring_file error = {ring, vmm->error_fd};
        int r;

        r = vhost_ioctl(vmm, VHOST_SET_VRING_NUM, &size);
        if (r >= 0)
                r = vhost_ioctl(vmm, VHOST_SET_VRING_BASE, &base);
        if (r >= 0)
                r = vhost_ioctl(vmm, VHOST_SET_VRING_ADDR, &address);
        if (r >= 0)
                r = vhost_ioctl(vmm, VHOST_SET_VRING_CALL, &call);
        if (r >= 0)
                r = vhost_ioctl(vmm, VHOST_SET_VRING_ERR, &error);
        if (r >= 0)
                r = vhost_ioctl(vmm, VHOST_SET_VRING_KICK, &kick);
        return r;
}

static int open_eventfds(struct vmm *vmm)
{
        vmm_close_eventfds(vmm);
        vmm->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (vmm->error_fd < 0)
                return -errno;
        for (int ring = 0; ring < VMM_RINGS; ring++) {
                vmm->kick_fd[ring] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                vmm->call_fd[ring] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                if (vmm->kick_fd[ring] < 0 || vmm->call_fd[ring] < 0)
                        return -errno;
        }
        return 0;
}

int vmm_configure(struct vmm *vmm)
{
        int r;

        r = open_eventfds(vmm);
        if (r < 0)
                return r;
        r = configure_memory(vmm);
        if (r < 0)
                return r;
        for (unsigned ring = 0; ring < VMM_DEVICE_RINGS; ring++) {
                r = configure_ring(vmm, ring);
                if (r < 0)
                        return r;
        }
        return vmm_set_cid(vmm, vmm->memory->guest.cid);
}

int vmm_start(struct vmm *vmm)
{
        int running = 1;

        return vhost_ioctl(vmm, VHOST_VSOCK_SET_RUNNING, &running);
}

int vmm_stop(struct vmm *vmm)
{
        int running = 0;
        int r;

        r = vhost_ioctl(vmm, VHOST_VSOCK_SET_RUNNING, &running);
        if (r < 0)
                return r;
        for (unsigned ring = 0; ring < VMM_DEVICE_RINGS; ring++) {
                struct vhost_vring_state base = {.index = ring};

                r = vhost_ioctl(vmm, VHOST_GET_VRING_BASE, &base);
                if (r < 0)
                        return r;
                if (base.num != vmm->memory->rings[ring].used.index) {
                        vmm_complain(vmm, "ring %u: the device took %u buffers and used %u", ring, base.num,
                                     vmm->memory->rings[ring].used.index);
                        return -EPROTO;
                }
        }
        return 0;
}

int vmm_take(struct vmm *vmm)
{
        int r;

        r = vmm_claim(vmm);
        if (r < 0)
                return r;
        r = vmm_configure(vmm);
        if (r < 0)
                return r;
        return vmm_start(vmm);
}

int vmm_give(struct vmm *vmm)
{
        int r;

        r = vmm_stop(vmm);
        return r < 0 ? r : vmm_release(vmm);
}

/* ---- running the guest ---- */

static void drain_eventfd(int fd)
{
        eventfd_t value;

        if (fd >= 0)
                (void)eventfd_read(fd, &value);
}

int vmm_pump(struct vmm *vmm)
{
        eventfd_t errors;
        int n;

        for (int ring = 0; ring < VMM_RINGS; ring++)
                drain_eventfd(vmm->call_fd[ring]);
        if (vmm->error_fd >= 0 && eventfd_read(vmm->error_fd, &errors) == 0)
                vmm_complain(vmm, "the device reported a ring error");
        n = vmm_guest_receive(vmm);
        vmm_guest_transmit(vmm);
        return n;
}

int vmm_pump_wait(struct vmm *vmm, int timeout_ms)
{
        struct pollfd fds[VMM_RINGS];
        int n;

        n = vmm_pump(vmm);
        if (n > 0)
                return n;
        for (int ring = 0; ring < VMM_RINGS; ring++)
                fds[ring] = (struct pollfd){.fd = vmm->call_fd[ring], .events = POLLIN};
        if (poll(fds, VMM_RINGS, timeout_ms) < 0 && errno != EINTR)
                return -errno;
        return vmm_pump(vmm);
}

void vmm_observe(struct vmm *vmm, vmm_observer observer, void *userdata)
{
        vmm->observer = observer;
        vmm->userdata = userdata;
}

/* ---- what it is ---- */

int vmm_device_fd(const struct vmm *vmm)
{
        return vmm->device_fd;
}

int vmm_memory_fd(const struct vmm *vmm)
{
        return vmm->memory_fd;
}

int vmm_call_fd(const struct vmm *vmm, int ring)
{
        return vmm->call_fd[ring];
}

int vmm_kick_fd(const struct vmm *vmm, int ring)
{
        return vmm->kick_fd[ring];
}

uint32_t vmm_cid(const struct vmm *vmm)
{
        return vmm->memory->guest.cid;
}

const struct vmm_stats *vmm_stats(const struct vmm *vmm)
{
        return &vmm->memory->guest.stats;
}

const char *vmm_complaint(const struct vmm *vmm)
{
        const char *complaint = vmm->memory->guest.complaint;

        return complaint[0] ? complaint : NULL;
}
