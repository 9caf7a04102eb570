/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/vmstate.h"

#include <gelf.h>

#define CALLBACK "vhost_vsock_common_post_load"
#define VMSTATE  "virtio-vhost_vsock"

/* The distance from `name` to `post_load` in VMStateDescription: in QEMU 10.0, and since pre_load_errp was
 * added in between. */
static const uint64_t name_offsets[] = {32, 40};

#if defined(__x86_64__)
#define ELF_MACHINE  EM_X86_64
#define ELF_RELATIVE R_X86_64_RELATIVE
#elif defined(__aarch64__)
#define ELF_MACHINE  EM_AARCH64
#define ELF_RELATIVE R_AARCH64_RELATIVE
#else
#error "this machine's relocations are not known here"
#endif

static void elf_endp(Elf **e)
{
        if (*e)
                elf_end(*e);
}

/* Calls @each for every section of @type that belongs to the loaded image, until it returns non-zero. */
static int for_each_section(Elf *elf, GElf_Word type, int (*each)(Elf *, Elf_Data *, GElf_Shdr *, void *),
                            void *user)
{
        for (Elf_Scn *s = NULL; (s = elf_nextscn(elf, s));) {
                GElf_Shdr header;
                Elf_Data *data;
                int r;

                if (!gelf_getshdr(s, &header) || header.sh_type != type || !(header.sh_flags & SHF_ALLOC) ||
                    !(data = elf_getdata(s, NULL)))
                        continue;
                r = each(elf, data, &header, user);
                if (r != 0)
                        return r;
        }
        return 0;
}

static int find_callback(Elf *elf, Elf_Data *data, GElf_Shdr *header, void *user)
{
        uint64_t *ret = user;
        GElf_Sym symbol;

        for (int i = 0; gelf_getsym(data, i, &symbol); i++) {
                const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);

                if (name && symbol.st_value && GELF_ST_TYPE(symbol.st_info) == STT_FUNC &&
                    STREQ(name, CALLBACK)) {
                        *ret = symbol.st_value;
                        return 1;
                }
        }
        return 0;
}

struct relocation_search {
        uint64_t addend; /* look for this addend, and count… */
        uint64_t offset; /* …or for this offset, when it is not 0 */
        size_t found;
        GElf_Rela last;
};

static int find_relocation(Elf *elf, Elf_Data *data, GElf_Shdr *header, void *user)
{
        struct relocation_search *search = user;
        GElf_Rela rela;

        for (int i = 0; gelf_getrela(data, i, &rela); i++) {
                if (GELF_R_TYPE(rela.r_info) != ELF_RELATIVE)
                        continue;
                if (search->offset ? rela.r_offset != search->offset
                                   : (uint64_t)rela.r_addend != search->addend)
                        continue;
                search->found++;
                search->last = rela;
        }
        return 0;
}

/* Whether the loaded image holds the string VMSTATE at link-time address @address. */
static bool is_vmstate_name(Elf *elf, uint64_t address)
{
        size_t n, file_size;
        const char *file = elf_rawfile(elf, &file_size);

        if (!file || elf_getphdrnum(elf, &n) < 0)
                return false;
        for (size_t i = 0; i < n; i++) {
                GElf_Phdr segment;
                uint64_t at;

                if (!gelf_getphdr(elf, (int)i, &segment) || segment.p_type != PT_LOAD ||
                    address < segment.p_vaddr || address - segment.p_vaddr >= segment.p_filesz)
                        continue;
                at = segment.p_offset + (address - segment.p_vaddr);
                return at < file_size && file_size - at >= sizeof(VMSTATE) &&
                       memcmp(file + at, VMSTATE, sizeof(VMSTATE)) == 0;
        }
        return false;
}

/* Whether @slot is the post_load of the vmstate of that name. */
static bool is_in_vmstate(Elf *elf, uint64_t slot)
{
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(name_offsets); i++) {
                struct relocation_search name = {.offset = slot - name_offsets[i]};

                for_each_section(elf, SHT_RELA, find_relocation, &name);
                n += name.found == 1 && is_vmstate_name(elf, (uint64_t)name.last.r_addend);
        }
        return n == 1;
}

static int find_slot(Elf *elf, struct vmstate_slot *ret, struct failure *f)
{
        struct relocation_search slot = {};

        for_each_section(elf, SHT_DYNSYM, find_callback, &ret->callback);
        if (!ret->callback)
                return failure_set(f, ENOTSUP,
                                   "it does not export " CALLBACK ": not a QEMU with vhost-vsock whose "
                                   "shield slot can be found");
        slot.addend = ret->callback;
        for_each_section(elf, SHT_RELA, find_relocation, &slot);
        if (slot.found != 1)
                return failure_set(f, ENOTSUP,
                                   "it has %zu shield slots (places that hold the address of " CALLBACK
                                   "), not exactly one",
                                   slot.found);
        if (!is_in_vmstate(elf, slot.last.r_offset))
                return failure_set(f, ENOTSUP, "its shield slot is not in the vmstate named \"" VMSTATE "\"");
        ret->slot = slot.last.r_offset;
        return 0;
}

int vmstate_find_slot(int fd, struct vmstate_slot *ret, struct failure *f)
{
        struct vmstate_slot found = {};
        _cleanup_(elf_endp) Elf *elf = NULL;
        GElf_Ehdr header;
        int r;

        if (elf_version(EV_CURRENT) == EV_NONE)
                return failure_set(f, ENOTSUP, "libelf does not know the current ELF version");
        elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
        if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header))
                return failure_set(f, ENOEXEC, "it is not an ELF executable");
        if (header.e_machine != ELF_MACHINE || (header.e_type != ET_DYN && header.e_type != ET_EXEC))
                return failure_set(f, ENOEXEC, "it is not an executable for this machine");
        r = find_slot(elf, &found, f);
        if (r < 0)
                return failure_remedy(f, "use a QEMU 10.0 or newer as distributions build it (with "
                                         "vhost-vsock and modules, not stripped of .dynsym)");
        found.entry = header.e_entry;
        *ret = found;
        return 0;
}
