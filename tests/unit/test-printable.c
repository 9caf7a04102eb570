/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nothing that a daemon replies can do harm on the terminal: cprctl's commands are run against one that
 * tries. */
#include "cli/printable.h"
#include "cli/verbs.h"
#include "test.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static char directory[] = "/tmp/test-printable.XXXXXX", path[64];

static void texts(void)
{
        static const struct {
                const char *text, *printable;
        } table[] = {
                {"plain", "plain"},
                {"a\033[2Jb\nc\xc3\xa4", "a?[2Jb?c\xc3\xa4"},
                {"\xc2\x9b"
                 "2J\xc2\x80\x7f\t",
                 "?2J???"},
                {"\xe2\x80\xaeknil\xe2\x81\xa6", "?knil?"},
                {"not\xff UTF-8\xc3", "not? UTF-8?"},
                {"\xc0\xaf\xed\xa0\x80", "?????"},
                {"\xf0\x9f\x90\xa7 \xf4\x90\x80\x80", "\xf0\x9f\x90\xa7 ????"},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_free_ char *text = strdup(table[i].text);

                EXPECT_STR(make_printable(text), table[i].printable);
        }
}

static void a_copy(void)
{
        _cleanup_json_ json_object *o = json_tokener_parse(
                                           "{\"a\\u001b\":[\"b\\u001b\",1,null],\"c\":{\"d\":\"\\u009b\"}}"),
                                   *copy = printable_copy(o);

        EXPECT_STR(json_object_to_json_string_ext(copy, JSON_C_TO_STRING_PLAIN),
                   "{\"a?\":[\"b?\",1,null],\"c\":{\"d\":\"?\"}}");
        EXPECT(!printable_copy(NULL));
}

static void as_json(void)
{
        _cleanup_json_ json_object *o =
                json_tokener_parse("[\"\\u001b\\u007f\\u009b\xc3\xa4\\udb40\\udc01/\"]");
        _cleanup_free_ char *text = printable_json(o);
        _cleanup_json_ json_object *again = json_tokener_parse(text);

        EXPECT_STR(text, "[\"\\u001b\\u007f\\u009b\xc3\xa4\\udb40\\udc01/\"]");
        EXPECT(json_object_equal(o, again));
}

/* ---- the daemon ---- */

#define BAD "EVIL\\u001b]0;title\\u0007\\u009b2J\\u202e\\u007f"

static const char qemu[] =
        "{\"pid\":1,\"binary\":\"" BAD "\",\"version\":\"" BAD "\",\"machine\":\"" BAD "\"}";
static const char findings[] =
        "[{\"id\":\"" BAD "\",\"severity\":\"blocker\",\"what\":\"" BAD "\",\"remedy\":\"" BAD
        "\"},{\"id\":\"" BAD "\",\"severity\":\"" BAD "\",\"what\":\"" BAD "\",\"remedy\":\"" BAD "\"}]";

static void put(FILE *f, const char *format, ...) _printf_(2, 3);
static void put(FILE *f, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vfprintf(f, format, ap);
        va_end(ap);
        fputc('\0', f);
}

static void put_record(char *text, size_t size, const char *outcome)
{
        snprintf(text, size,
                 "{\"id\":\"" BAD "\",\"name\":\"" BAD "\",\"caller\":\"" BAD
                 "\",\"outcome\":\"%s\",\"source\":%s,"
                 "\"destination\":%s,\"stage\":\"" BAD "\",\"reason\":\"" BAD "\",\"remedy\":\"" BAD
                 "\",\"findings\":%s,\"stages\":[{\"stage\":\"" BAD "\",\"elapsed\":1}],\"" BAD "\":\"" BAD
                 "\"}",
                 outcome, qemu, qemu, findings);
}

static void reply_handoff(FILE *f, const char *outcome)
{
        char record[8192];

        put_record(record, sizeof(record), outcome);
        put(f, "{\"continues\":true,\"parameters\":{\"id\":\"" BAD "\"}}");
        put(f,
            "{\"continues\":true,\"parameters\":{\"id\":\"x\",\"about\":{\"source\":%s,\"destination\":%s},"
            "\"progress\":{\"stage\":\"" BAD "\",\"event\":\"begin\"}}}",
            qemu, qemu);
        put(f,
            "{\"continues\":true,\"parameters\":{\"id\":\"x\",\"progress\":{\"stage\":\"check\",\"event\":\"end\","
            "\"elapsed\":1,\"reason\":\"" BAD "\",\"error\":5}}}");
        put(f,
            "{\"continues\":true,\"parameters\":{\"id\":\"x\",\"findings\":%s,\"about\":{\"source\":%s},\"progress\":"
            "{\"stage\":\"" BAD "\",\"event\":\"end\",\"elapsed\":1,\"reason\":\"" BAD "\",\"error\":5}}}",
            findings, qemu);
        put(f, "{\"parameters\":{\"id\":\"x\",\"record\":%s}}", record);
}

static void reply(FILE *f, const char *call)
{
        char record[8192];

        put_record(record, sizeof(record), BAD);
        if (strstr(call, "GetInfo"))
                put(f, "{\"parameters\":{\"vendor\":\"" BAD "\",\"version\":\"" BAD "\"}}");
        else if (strstr(call, "io.cprd.List"))
                put(f, "{\"parameters\":{\"vms\":[{\"name\":\"" BAD "\",\"state\":\"" BAD
                       "\",\"pid\":1,\"binary\":\"" BAD "\",\"lastHandoff\":\"" BAD "\",\"version\":\"" BAD
                       "\",\"pathVersion\":\"" BAD "\"}]}}");
        else if (strstr(call, "io.cprd.Describe"))
                put(f, "{\"parameters\":{\"vm\":{\"name\":\"" BAD "\",\"state\":\"" BAD "\",\"binary\":\"" BAD
                       "\",\"qmp\":\"" BAD "\",\"lastHandoff\":\"" BAD "\"}}}");
        else if (strstr(call, "io.cprd.Check"))
                put(f, "{\"parameters\":{\"passed\":false,\"source\":%s,\"destination\":%s,\"findings\":%s}}",
                    qemu, qemu, findings);
        else if (strstr(call, "io.cprd.Probe"))
                put(f,
                    "{\"parameters\":{\"kernel\":{\"release\":\"" BAD "\",\"problem\":\"" BAD
                    "\"},\"binaries\":[{\"binary\":\"" BAD "\",\"version\":\"" BAD "\",\"findings\":%s}]}}",
                    findings);
        else if (strstr(call, "io.cprd.History"))
                put(f, "{\"parameters\":{\"records\":[%s]}}", record);
        else if (strstr(call, "io.cprd.Cancel"))
                put(f,
                    "{\"error\":\"" BAD "\",\"parameters\":{\"what\":\"" BAD "\",\"remedy\":\"" BAD "\"}}");
        else if (strstr(call, "io.cprd.Unregister"))
                put(f, "{\"error\":\"io.cprd.NotUsable\",\"parameters\":{\"what\":\"" BAD
                       "\",\"remedy\":\"" BAD "\"}}");
        else
                reply_handoff(f, strstr(call, "refused") ? "refused" : BAD);
        fflush(f);
}

/* One call per connection, until it is killed. */
static void serve(int listener)
{
        for (;;) {
                int fd = accept(listener, NULL, NULL);
                FILE *f = fdopen(fd, "r+");
                char *call = NULL;
                size_t size = 0;

                if (f && getdelim(&call, &size, '\0', f) > 0) {
                        fseek(f, 0, SEEK_CUR);
                        reply(f, call);
                }
                free(call);
                if (f)
                        fclose(f);
        }
}

static pid_t start_daemon(void)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        pid_t child;

        EXPECT(mkdtemp(directory));
        snprintf(path, sizeof(path), "%s/s", directory);
        strcpy(address.sun_path, path);
        EXPECT_INT(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
        EXPECT_INT(listen(listener, 8), 0);
        child = fork();
        if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails exits at once */
                serve(listener);
        }
        close(listener);
        return child;
}

/* Everything that a command writes, on both of its streams. */
static char *screen_of(int (*verb)(const struct options *), const struct options *o)
{
        int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
        FILE *f = tmpfile();
        char *text;
        size_t size;

        fflush(NULL);
        EXPECT(f && dup2(fileno(f), STDOUT_FILENO) >= 0 && dup2(fileno(f), STDERR_FILENO) >= 0);
        verb(o);
        fflush(NULL);
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        close(out);
        close(err);
        fseek(f, 0, SEEK_END);
        size = (size_t)ftell(f);
        rewind(f);
        text = calloc(1, size + 1);
        EXPECT_INT(fread(text, 1, size, f), size);
        fclose(f);
        return text;
}

static void expect_harmless(const char *name, const char *text)
{
        if (!strstr(text, "EVIL"))
                FAIL("%s shows nothing of the reply: %s", name, text);
        for (const char *p = text; *p; p++) {
                unsigned char c = (unsigned char)p[0], next = (unsigned char)p[1];

                if ((c < ' ' && c != '\n') || c == 0x7f || (c == 0xc2 && next < 0xa0) ||
                    strncmp(p, "\xe2\x80\xae", 3) == 0)
                        FAIL("%s lets \\x%02x\\x%02x through: %s", name, c, next, text);
        }
}

static void commands(void)
{
        static const struct {
                const char *name, *vm, *id;
                int (*verb)(const struct options *o);
                int n; /* VMs named */
        } table[] = {
                {"status", NULL, NULL, verb_status},
                {"list", NULL, NULL, verb_list},
                {"show", "web1", NULL, verb_show},
                {"probe", NULL, NULL, verb_probe},
                {"check", "web1", NULL, verb_check},
                {"history", NULL, NULL, verb_history},
                {"history --id", NULL, "5f0c2b", verb_history},
                {"cancel (error)", "web1", NULL, verb_cancel},
                {"unregister (error)", "web1", NULL, verb_unregister},
                {"handoff", "web1", NULL, verb_handoff, 1},
                {"handoff (refused)", "refused", NULL, verb_handoff, 1},
                {"handoff (several)", "web1", NULL, verb_handoff, 2},
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                for (int json = 0; json < 2; json++) {
                        char *names[] = {(char *)table[i].vm, (char *)"other"};
                        struct options o = {.socket = path,
                                            .name = table[i].vm,
                                            .arguments = names,
                                            .n_arguments = table[i].n,
                                            .id = table[i].id,
                                            .json = json};
                        _cleanup_free_ char *text = screen_of(table[i].verb, &o);

                        expect_harmless(table[i].name, text);
                }
        }
}

int main(void)
{
        pid_t server;

        TEST(texts);
        TEST(a_copy);
        TEST(as_json);
        server = start_daemon();
        TEST(commands);
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
        unlink(path);
        rmdir(directory);
        return 0;
}
