/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/memfile.h"
#include "handoff/options.h"
#include "handoff/optstr.h"
#include "made.h"

#include <fcntl.h>
#include <sys/mman.h>

static int socket_path(void *userdata, int fd, char **ret)
{
        if (fd != 13)
                return -EBADF;
        *ret = strdup("/run/vm/qmp");
        return 0;
}

static int find_memory(void *userdata, const char *path, const char *id)
{
        return STREQ(path, "/dev/hugepages/made") || STREQ(path, "/proc/self/fd/90") ? 7 : -ENOENT;
}

static bool maps_file(void *userdata, const char *path)
{
        return STREQ(path, "/dev/shm/ram");
}

static const struct cmdline_plan plan = {
        .id = "7",
        .binary = "/new/qemu",
        .machine = "pc-q35-10.0",
        .device_fd = 10,
        .cpr_path = "/run/c/cpr",
        .main_path = "/run/c/main",
        .first_listener_fd = 13,
        .socket_path = socket_path,
        .maps_file = maps_file,
        .find_memory = find_memory,
        .first_memory_fd = 90,
};

static struct made make(const char *words)
{
        struct made m = make_from(words, &plan);

        made_write(&m, 0, NULL);
        return m;
}

#define TAIL                                                                                                 \
        " -S -incoming unix:/run/c/main -incoming "                                                          \
        "{\"channel-type\":\"cpr\",\"addr\":{\"transport\":\"socket\",\"type\":\"unix\",\"path\":\"/run/c/cpr\"}}"

static void expect(const char *source, const char *destination)
{
        _cleanup_(made_done) struct made m = make(source);
        _cleanup_free_ char *expected = NULL;

        EXPECT(asprintf(&expected, "/new/qemu %s" TAIL, destination) > 0);
        EXPECT_STR(m.text, expected);
        EXPECT_INT(m.findings.n_blockers, 0);
}

/* The same, but with a finding for the operator. */
static void expect_warned(const char *source, const char *destination)
{
        _cleanup_(made_done) struct made m = make(source);

        EXPECT_INT(m.findings.n_warnings, 1);
        expect(source, destination);
}

static void expect_refused(const char *source)
{
        _cleanup_(made_done) struct made m = make(source);

        EXPECT_INT(m.findings.n_blockers, 1);
        EXPECT(json_str(json_object_array_get_idx(m.findings.list, 0), "remedy"));
}

static void machine_is_pinned(void)
{
        expect("qemu -machine q35,aux-ram-share=on", "-machine type=pc-q35-10.0,aux-ram-share=on");
        expect("qemu -M q35", "-machine type=pc-q35-10.0");
        expect("qemu --machine usb=off,type=q35", "-machine type=pc-q35-10.0,usb=off");
        expect("qemu -machine aux-ram-share=on -M pc", "-machine aux-ram-share=on -machine type=pc-q35-10.0");
        expect("qemu -m 128", "-m 128 -machine pc-q35-10.0");
        expect("qemu -machine aux-ram-share=on", "-machine aux-ram-share=on -machine pc-q35-10.0");
}

static void vsock_device_gets_the_fd(void)
{
        _cleanup_(made_done) struct made m = {}, json = {};

        expect("q -M x -device vhost-vsock-pci,guest-cid=3,bus=rp0",
               "-machine type=pc-q35-10.0 -device vhost-vsock-pci,guest-cid=3,bus=rp0,vhostfd=10");
        m = make(
                "q -device vhost-vsock-pci-non-transitional,id=v,vhostfd=7,guest-cid=0x10 -device virtio-rng-pci");
        EXPECT_INT(m.facts.n_vsock, 1);
        EXPECT_INT(m.facts.vhostfd, 7);
        EXPECT_INT(m.facts.cid, 16);
        EXPECT_INT(m.facts.n_devices, 1);
        EXPECT(json_object_object_get_ex(m.facts.ids, "v", NULL));
        EXPECT(strstr(m.text, "vhost-vsock-pci-non-transitional,id=v,guest-cid=0x10,vhostfd=10 "));
        json = make("q -device {\"driver\":\"vhost-vsock-pci\",\"guest-cid\":5,\"id\":\"a\"}");
        EXPECT_INT(json.facts.cid, 5);
        EXPECT_INT(json.facts.vhostfd, -1);
        EXPECT(strstr(json.text,
                      "{\"driver\":\"vhost-vsock-pci\",\"guest-cid\":5,\"id\":\"a\",\"vhostfd\":\"10\"}"));
}

static void listening_sockets_are_handed_on(void)
{
        _cleanup_(made_done) struct made m = {};

        expect("q -M x -qmp unix:/run/vm/qmp,server=on,wait=off",
               "-machine type=pc-q35-10.0 -chardev socket,id=cprd-chr0,server=on,wait=off,fd=13 -mon "
               "chardev=cprd-chr0,mode=control");
        expect("q -M x -chardev socket,id=a,path=/x,server=on,wait=off -serial chardev:a",
               "-machine type=pc-q35-10.0 -chardev socket,id=a,server=on,wait=off,fd=13 -serial chardev:a");
        expect("q -M x -chardev socket,id=a,fd=13,server,nowait",
               "-machine type=pc-q35-10.0 -chardev socket,id=a,server,wait=off,fd=13");
        m = make("q -monitor unix:/a,server -serial unix:/b,server,nowait");
        EXPECT_INT(m.facts.n_listeners, 2);
        EXPECT_STR(m.facts.listeners[1].path, "/b");
        EXPECT_INT(m.facts.listeners[1].fd_number, 14);
        expect_refused("q -chardev socket,id=a,path=relative,server=on");
        expect_refused("q -chardev socket,id=a,fd=99,server=on");
        expect_refused("q -chardev socket,id=a,host=h,port=1,server=on");
        expect_refused("q -chardev socket,id=a,path=/client");
        expect_refused("q -monitor tcp:127.0.0.1:1,server");
}

static void nobody_is_waited_for(void)
{
        expect("q -M x -chardev socket,id=a,path=/x,server=on -serial chardev:a",
               "-machine type=pc-q35-10.0 -chardev socket,id=a,server=on,wait=off,fd=13 -serial chardev:a");
        expect("q -M x -qmp unix:/x,server,wait=on",
               "-machine type=pc-q35-10.0 -chardev socket,id=cprd-chr0,server,wait=off,fd=13 -mon "
               "chardev=cprd-chr0,mode=control");
}

static void a_comma_at_the_end_is_nothing(void)
{
        expect("q -M x, -device vhost-vsock-pci,guest-cid=42, -device vhost-vsock-pci,vhostfd=3,",
               "-machine type=pc-q35-10.0 -device vhost-vsock-pci,guest-cid=42,vhostfd=10 -device "
               "vhost-vsock-pci,vhostfd=10");
        expect("q -M x -chardev file,id=s,path=/log, -chardev file,path=/log,,,",
               "-machine type=pc-q35-10.0 -chardev file,id=s,path=/log,append=on -chardev "
               "file,path=/log,,,append=on");
        expect("q -M q35,usb=off,", "-machine type=pc-q35-10.0,usb=off");
        expect("q -M q35,type", "-machine type=pc-q35-10.0");
        expect("q -M ,usb=off", "-machine type=pc-q35-10.0,usb=off");
}

static void json_options(void)
{
        expect_warned("q -M x -netdev {\"type\":\"user\",\"id\":\"n\"}",
                      "-machine type=pc-q35-10.0 -netdev {\"type\":\"user\",\"id\":\"n\"}");
        expect("q -M x -display {\"type\":\"none\"}",
               "-machine type=pc-q35-10.0 -display {\"type\":\"none\"}");
        expect_refused("q -netdev {\"type\":\"user\",\"id\":\"n\",\"hostfwd\":[{\"str\":\"tcp::1-:2\"}]}");
        expect_refused("q -netdev {\"type\":\"tap\",\"id\":\"n\",\"fd\":\"25\"}");
        expect("q -M x -object "
               "{\"qom-type\":\"memory-backend-file\",\"mem-path\":\"/dev/shm/ram\",\"discard-data\":true}",
               "-machine type=pc-q35-10.0 -object "
               "{\"qom-type\":\"memory-backend-file\",\"mem-path\":\"/dev/shm/ram\"}");
}

static void memory_files(void)
{
        const char *good = "-object memory-backend-file,id=m,mem-path=/dev/shm/ram,share=on,size=1G";
        _cleanup_free_ char *source = text_print("q -M x %s", good), *out = NULL;

        out = text_print("-machine type=pc-q35-10.0 %s", good);
        expect(source, out);
        expect_refused("q -object memory-backend-file,id=m,mem-path=/dev/hugepages,share=on,size=1G");
        expect("q -M x -object memory-backend-file,id=m,mem-path=/dev/shm/ram,share=on,size=1G,discard-data=on",
               out);
        expect("q -M x -object memory-backend-file,id=m,mem-path=/dev/hugepages/made,share=on,size=1G",
               "-machine type=pc-q35-10.0 -object "
               "memory-backend-file,id=m,share=on,size=1G,mem-path=/proc/self/fd/90");
        expect("q -M x -object memory-backend-file,id=m,mem-path=/proc/self/fd/90,share=on,size=1G",
               "-machine type=pc-q35-10.0 -object "
               "memory-backend-file,id=m,mem-path=/proc/self/fd/90,share=on,size=1G");
        expect_refused("q -object qom-type=memory-backend-file,id=m,share=on,size=1G");
}

/* As QEMU does it in a directory, and as somebody else may have done. */
static void a_memory_file_without_a_name_is_found(void)
{
        _cleanup_(process_close) struct process p = PROCESS_NULL;
        char directory[] = "/tmp/test-cmdline-XXXXXX", place[MEMFILE_PLACE_MAX], own[64];
        _cleanup_free_ char *path = NULL, *other = NULL, *maps = NULL;
        _cleanup_close_ int fd = -EBADF, second = -EBADF;
        void *memory, *more;

        EXPECT(mkdtemp(directory));
        EXPECT_INT(process_open(&p, getpid(), 0, NULL), 0);
        path = text_print("%s/qemu_back_mem.ram0.abcdef", directory);
        other = text_print("%s/qemu_back_mem.ram0.ghijkl", directory);
        fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        second = open(other, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        EXPECT(ftruncate(fd, 8192) == 0 && ftruncate(second, 4096) == 0);
        memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
        EXPECT_INT(memfile_find(&p, directory, "ram0"), -ENOENT); /* it has a name */
        unlink(path);
        EXPECT_INT(memfile_find(&p, directory, "ram0"), fd);
        EXPECT_INT(memfile_find(&p, directory, "ram"), -ENOENT);
        EXPECT_INT(memfile_find(&p, "/proc", "ram0"), -ENOENT);
        EXPECT_INT(memfile_find(&p, path, "whatever"), fd);
        snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
        EXPECT_INT(memfile_find(&p, own, "whatever"), fd);
        EXPECT(!memfile_is_mapped(&p, own));
        EXPECT(process_read(&p, "maps", 1 << 20, &maps, NULL) >= 0);
        memfile_at(&p, maps, (uintptr_t)memory + 16, place);
        EXPECT(strstr(place, "+0x1010"));
        memfile_at(&p, maps, (uintptr_t)&p, place);
        EXPECT_STR(place, "");
        unlink(other); /* two of the same name, but not mapped, and then they are */
        EXPECT_INT(memfile_find(&p, directory, "ram0"), fd);
        more = mmap(NULL, 4096, PROT_READ, MAP_SHARED, second, 0);
        EXPECT_INT(memfile_find(&p, directory, "ram0"), -ENOTUNIQ);
        munmap(more, 4096);
        munmap(memory, 4096);
        EXPECT_INT(memfile_find(&p, own, "whatever"), -ENOENT);
        rmdir(directory);
}

/* This process is the source. */
static void a_memory_file_is_the_one_that_is_mapped(void)
{
        _cleanup_(process_close) struct process p = PROCESS_NULL;
        char path[] = "/tmp/test-cmdline-XXXXXX", other[64];
        _cleanup_close_ int fd = mkstemp(path);
        void *memory;

        EXPECT_INT(process_open(&p, getpid(), 0, NULL), 0);
        EXPECT(ftruncate(fd, 4096) == 0);
        EXPECT(!memfile_is_mapped(&p, path));
        memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
        EXPECT(memory != MAP_FAILED);
        EXPECT(memfile_is_mapped(&p, path));
        EXPECT(!memfile_is_mapped(&p, "/tmp"));
        snprintf(other, sizeof(other), "%s.new", path);
        close_fd(open(other, O_CREAT | O_WRONLY, 0600));
        EXPECT(rename(other, path) == 0);
        EXPECT(!memfile_is_mapped(&p, path));
        unlink(path);
        munmap(memory, 4096);
}

/* A flag taken for an option with a value would swallow the next option, and vice versa. */
static void every_option_is_known(void)
{
        expect("q -perfmap -M x -jitdump -usb -no-reboot -enable-kvm d.img",
               "-perfmap -machine type=pc-q35-10.0 -jitdump -usb -no-reboot -enable-kvm d.img");
        EXPECT_INT(option_kind("-vnc"), OPTION_WITH_VALUE);
        EXPECT_INT(option_kind("-daemonize"), OPTION_ALONE);
        EXPECT_INT(option_kind("-"), OPTION_UNKNOWN);
        expect_refused("q -no-such-option -M x");
}

static void logs_are_not_emptied(void)
{
        expect_warned("q -M x -D /l -d guest_errors", "-machine type=pc-q35-10.0 -d guest_errors");
        expect("q -M x -D /l.%d", "-machine type=pc-q35-10.0 -D /l.%d");
        expect_warned("q -M x -trace vhost*,file=/l", "-machine type=pc-q35-10.0 -trace vhost*");
        expect_warned("q -M x -trace file=/l", "-machine type=pc-q35-10.0");
        expect("q -M x -trace vhost*", "-machine type=pc-q35-10.0 -trace vhost*");
        expect("q -M x -chardev null,id=n,logfile=/l,logappend=off -serial unix:/s,server=on,logfile=/m",
               "-machine type=pc-q35-10.0 -chardev null,id=n,logfile=/l,logappend=on -chardev "
               "socket,id=cprd-chr0,server=on,logfile=/m,logappend=on,wait=off,fd=13 -serial chardev:cprd-chr0");
}

static void files_are_not_emptied(void)
{
        expect("q -M x -chardev file,id=s,path=/a,,b -serial file:/c,d",
               "-machine type=pc-q35-10.0 -chardev file,id=s,path=/a,,b,append=on -chardev "
               "file,id=cprd-chr0,path=/c,,d,append=on -serial chardev:cprd-chr0");
}

static void start_options_are_replaced(void)
{
        expect("q -M x -S -daemonize -add-fd fd=3,set=1 -incoming defer -loadvm a -run-with user=u disk.img",
               "-machine type=pc-q35-10.0 disk.img");
        expect("q -M x -run-with user=u,async-teardown=on",
               "-machine type=pc-q35-10.0 -run-with async-teardown=on");
}

static void a_display_gets_its_address_later(void)
{
        expect("q -M x -vnc :1,to=99,id=v,password=on,audiodev=a",
               "-machine type=pc-q35-10.0 -vnc vnc=none,id=v,password=on,audiodev=a");
        expect("q -M x -vnc unix:/v", "-machine type=pc-q35-10.0 -vnc vnc=none");
        expect("q -M x -vnc vnc=none,id=v", "-machine type=pc-q35-10.0 -vnc vnc=none,id=v");
}

static void a_pidfile_is_beside_the_old_one(void)
{
        expect("q -M x -pidfile /run/vm.pid", "-machine type=pc-q35-10.0 -pidfile /run/vm.pid.cprd-7");
        expect("q -M x -pidfile /run/vm.pid.cprd-3", "-machine type=pc-q35-10.0 -pidfile /run/vm.pid.cprd-7");
}

static void what_two_cannot_share_is_refused(void)
{
        static const char *const refused[] = {
                "q -vnc :1,websocket=5700",
                "q -vnc host:1,reverse=on",
                "q -spice port=1",
                "q -s",
                "q -gdb tcp::1",
                "q -pidfile p",
                "q -netdev tap,id=n",
                "q -nic user,hostfwd=tcp::1-:2",
                "q -display gtk",
                "q -snapshot",
                "q -readconfig /c",
                "q -run-with chroot=/x",
                "q -device {broken",
                "q -drive file=/d,snapshot=on",
                "q -run-with exit-with-parent=on",
                "q -set drive.a.snapshot=on",
                "q -set device.v.vhostfd=7",
                "q -chardev pipe,id=p,path=/p",
                "q -chardev pty,id=p,path=/p",
                "q -serial mon:unix:/x,server=on",
                "q -device vhost-scsi-pci,vhostfd=9",
                "q -object iommufd,id=i,fd=9",
                "q -object filter-dump,id=f,netdev=n,file=/f",
                "q -icount shift=1,rr=record,rrfile=/r",
                "q -audiodev wav,id=w,path=/w",
                "q -tpmdev passthrough,id=t",
                "q -m",
        };

        for (size_t i = 0; i < ELEMENTSOF(refused); i++)
                expect_refused(refused[i]);
        expect("q -M x -vnc none -display none -nic none -serial null -monitor none -set device.a.mac=b",
               "-machine type=pc-q35-10.0 -vnc none -display none -nic none -serial null -monitor none -set "
               "device.a.mac=b");
        expect_warned("q -M x -netdev user,id=n", "-machine type=pc-q35-10.0 -netdev user,id=n");
        expect_warned("q -M x -serial pty", "-machine type=pc-q35-10.0 -serial pty");
}

static void broken_command_lines(void)
{
        struct cmdline c = {};
        struct failure f = {};

        EXPECT_INT(cmdline_parse("", 0, &c, &f), -EBADMSG);
        EXPECT_INT(cmdline_parse("qemu", 4, &c, &f), -EBADMSG);
}

static void option_strings(void)
{
        static const char *const cases[][3] = {
                {"a,b=c,d", "b", "c"}, {"a,b=c,,d,e", "b", "c,d"},  {"a,d", "d", "on"},
                {"a,nod", "d", "off"}, {"b=1,b=2", "b", "2"},       {"x,b=", "b", ""},
                {"a,b=c,", "b", "c"},  {"{\"b\":true}", "b", "on"}, {"{\"b\":{\"c\":7}}", "b.c", "7"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *value = optstr_get(cases[i][0], cases[i][1]);

                EXPECT_STR(value, cases[i][2]);
        }
        EXPECT(!optstr_get("a,b=c", "d"));
        EXPECT(!optstr_get("", "d"));
        EXPECT(!optstr_get("{broken", "broken"));
}

int main(void)
{
        TEST(option_strings);
        TEST(machine_is_pinned);
        TEST(vsock_device_gets_the_fd);
        TEST(listening_sockets_are_handed_on);
        TEST(nobody_is_waited_for);
        TEST(a_comma_at_the_end_is_nothing);
        TEST(json_options);
        TEST(memory_files);
        TEST(a_memory_file_is_the_one_that_is_mapped);
        TEST(a_memory_file_without_a_name_is_found);
        TEST(every_option_is_known);
        TEST(logs_are_not_emptied);
        TEST(files_are_not_emptied);
        TEST(start_options_are_replaced);
        TEST(a_display_gets_its_address_later);
        TEST(a_pidfile_is_beside_the_old_one);
        TEST(what_two_cannot_share_is_refused);
        TEST(broken_command_lines);
        return 0;
}
