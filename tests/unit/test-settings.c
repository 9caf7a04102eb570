/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/settings.h"
#include "handoff/wait.h"

#include "fake-qemu.h"

static void expect_told(struct handoff *h, const char *question, const char *expected)
{
        _cleanup_json_ json_object *reply = NULL;

        EXPECT(wait_qmp(h, h->source.qmp, question, NULL, &reply, NULL) >= 0);
        EXPECT_STR(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_PLAIN), expected);
}

static void settings_are_put_back(void)
{
        static const char before[] = "[{\"capability\":\"multifd\",\"state\":true},"
                                     "{\"capability\":\"events\",\"state\":false},"
                                     "{\"capability\":\"return-path\",\"state\":true},"
                                     "{\"capability\":\"xbzrle\",\"state\":false}]";
        static const char parameters[] =
                "{\"mode\":\"normal\",\"tls-creds\":\"tls0\",\"tls-hostname\":\"\",\"max-bandwidth\":5}";
        _cleanup_(stop) struct fixture x = start(
                "{\"capabilities\":{\"multifd\":true,\"events\":false,\"return-path\":true,\"xbzrle\":false},"
                "\"parameters\":{\"mode\":\"normal\",\"tls-creds\":\"tls0\",\"tls-hostname\":\"\",\"max-bandwidth\":5}}",
                NULL);

        EXPECT(settings_prepare(x.h, NULL) >= 0);
        expect_told(
                x.h, "query-migrate-capabilities",
                "[{\"capability\":\"multifd\",\"state\":false},{\"capability\":\"events\",\"state\":true},"
                "{\"capability\":\"return-path\",\"state\":true},{\"capability\":\"xbzrle\",\"state\":false}]");
        expect_told(
                x.h, "query-migrate-parameters",
                "{\"mode\":\"cpr-transfer\",\"tls-creds\":\"\",\"tls-hostname\":\"\",\"max-bandwidth\":5}");
        EXPECT(settings_restore(x.h, NULL) >= 0);
        expect_told(x.h, "query-migrate-capabilities", before);
        expect_told(x.h, "query-migrate-parameters", parameters);
}

/* A recovery of a handoff that had not got that far. */
static void no_settings(void)
{
        _cleanup_(stop) struct fixture x = start("{\"parameters\":{\"mode\":\"normal\"}}", NULL);

        EXPECT(settings_restore(x.h, NULL) >= 0);
        expect_told(x.h, "query-migrate-parameters", "{\"mode\":\"normal\"}");
}

int main(void)
{
        TEST(settings_are_put_back);
        TEST(no_settings);
        return 0;
}
