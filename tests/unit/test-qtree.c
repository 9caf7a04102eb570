/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/commands.h"
#include "handoff/qmp.h"
#include "handoff/qtree.h"

#include "test.h"

static const char tree[] =
        "bus: main-system-bus\r\n"
        "  type System\r\n"
        "  dev: hpet, id \"\"\r\n"
        "    gpio-in \"\" 2\r\n"
        "    timers = 3 (0x3)\r\n"
        "    mmio 00000000fed00000/0000000000000400\r\n"
        "  dev: q35-pcihost, id \"\"\r\n"
        "    bus: pcie.0\r\n"
        "      type PCIE\r\n"
        "      dev: pcie-root-port, id \"rp0\"\r\n"
        "        addr = 04.0\r\n"
        "        bus: rp0\r\n"
        "          type PCIE\r\n"
        "          dev: virtio-net-pci, id \"n0\"\r\n"
        "            addr = 00.0\r\n"
        "            romfile = \"a = b\"\r\n"
        "            class Ethernet controller, addr 01:00.0, pci id 1af4:1041 (sub 1af4:1100)\r\n"
        "            bar 1: mem at 0xfe840000 [0xfe840fff]\r\n"
        "            bus: virtio-bus\r\n"
        "              type virtio-pci-bus\r\n"
        "              dev: virtio-net-device, id \"\"\r\n"
        "                mac = \"52:54:00:11:22:33\"\r\n"
        "      dev: VGA, id \"\"\r\n"
        "        addr = 01.0\r\n"
        "      dev: usb, id \"\"\r\n"
        "      dev: usb, id \"\"\r\n";

static json_object *properties_of(json_object *devices, const char *key)
{
        EXPECT(json_obj(devices, key));
        return json_obj(json_obj(devices, key), "properties");
}

static void a_tree(void)
{
        _cleanup_json_ json_object *devices = NULL;

        EXPECT_INT(qtree_parse(tree, &devices), 0);
        EXPECT_INT(json_object_object_length(devices), 8);
        EXPECT_STR(json_str(properties_of(devices, "main-system-bus/hpet#0"), "timers"), "3 (0x3)");
        EXPECT(!json_str(properties_of(devices, "main-system-bus/hpet#0"), "mmio"));
        EXPECT_STR(json_str(json_obj(devices, "n0"), "bus"), "rp0/rp0");
        EXPECT_STR(json_str(json_obj(devices, "n0"), "parent"), "rp0");
        EXPECT_STR(json_str(json_obj(devices, "n0"), "pciId"), "1af4:1041 (sub 1af4:1100)");
        EXPECT_STR(json_str(properties_of(devices, "n0"), "romfile"), "\"a = b\"");
        EXPECT_STR(json_str(properties_of(devices, "n0/virtio-bus/virtio-net-device#0"), "mac"),
                   "\"52:54:00:11:22:33\"");
        EXPECT(json_obj(devices, "main-system-bus/q35-pcihost#0/pcie.0/VGA@01.0"));
        EXPECT(json_obj(devices, "main-system-bus/q35-pcihost#0/pcie.0/usb#1"));
}

/* Whatever it prints. */
static void no_trees(void)
{
        static const char *const texts[] = {
                "",
                "Error: no\r\n",
                "bus: x\r\n",
                "dev: a, id \"\"\r\n",
                "bus: x\r\n  dev: a\r\n",
                "bus: x\r\n  dev: a, id \"\r\n",
                "                                                                        dev: a, id \"b\"\r\n",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                json_object *devices = NULL;

                EXPECT_INT(qtree_parse(texts[i], &devices), -EBADMSG);
                EXPECT(!devices);
        }
}

static bool allowed(const char *command, const char *key, const char *value)
{
        _cleanup_json_ json_object *arguments = key ? qmp_arguments(key, value, NULL) : NULL;

        return command_is_allowed(command, arguments);
}

static void the_table_of_commands(void)
{
        EXPECT(allowed("query-status", NULL, NULL));
        EXPECT(allowed("human-monitor-command", "command-line", "info qtree"));
        EXPECT(!allowed("human-monitor-command", "command-line", "info qtree; quit"));
        EXPECT(!allowed("human-monitor-command", NULL, NULL));
        EXPECT(!allowed("x-query-virtio-status", "path", "/machine/peripheral/vsock0"));
        EXPECT(!allowed("stop", NULL, NULL));
        EXPECT(!allowed("qom-set", "property", "size"));
}

int main(void)
{
        TEST(a_tree);
        TEST(no_trees);
        TEST(the_table_of_commands);
        return 0;
}
