/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handoffs and checks through the API, with cprd-handoffs that finish, refuse, die or hang. */
#include "daemon-fixture.h"
#include "fake-helper.h"

#define WEB1 json_text("{'name': 'web1'}")

static struct varlink *ask(const char *name)
{
        struct varlink *v = caller_new();

        caller_send(v, "io.cprd.Handoff", json_text("{'name': '%s'}", name), true);
        return v;
}

/* The records that History tells of. */
static json_object *history(const char *parameters)
{
        _cleanup_json_ json_object *reply = call("io.cprd.History", parameters);
        json_object *records = json_arr(json_obj(reply, "parameters"), "records");

        EXPECT(records);
        return json_object_get(records);
}

static void expect_progress(struct varlink *v, const char *stage)
{
        _cleanup_json_ json_object *reply = caller_receive(v);

        EXPECT(json_flag(reply, "continues"));
        EXPECT_STR(json_str(json_obj(json_obj(reply, "parameters"), "progress"), "stage"), stage);
}

static void expect_about(struct varlink *v)
{
        _cleanup_json_ json_object *reply = caller_receive(v);
        json_object *about = json_obj(json_obj(reply, "parameters"), "about");

        EXPECT_INT(json_int(about, "cid", 0), 42);
        EXPECT_STR(json_str(json_obj(about, "source"), "version"), "1.2.3");
        EXPECT_STR(json_str(json_obj(about, "destination"), "binary"), "/old/qemu");
}

static void updated(void)
{
        _cleanup_json_ json_object *record = NULL, *vm = NULL, *records = NULL, *first = NULL;
        struct varlink *v;
        const char *id;

        fake_begin(FINISH, FINISH);
        v = ask("web1");
        first = caller_receive(v);
        EXPECT(json_flag(first, "continues"));
        id = json_str(json_obj(first, "parameters"), "id");
        expect_progress(v, "identify");
        expect_about(v);
        record = fake_receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), "updated");
        EXPECT(json_int(record, "time", 0) > 0);
        vm = describe("web1");
        EXPECT_INT(json_int(vm, "pid", 0), fake_destination);
        EXPECT_STR(json_str(vm, "binary"), "/new/qemu");
        EXPECT_INT(json_int(vm, "cid", 0), 42);
        EXPECT_STR(json_str(vm, "state"), "running");
        EXPECT_STR(json_str(vm, "lastHandoff"), id);
        records = history(json_text("{'id': '%s'}", id));
        EXPECT_STR(json_str(json_object_array_get_idx(records, 0), "id"), id);
        varlink_free(v);
        fake_end();
}

/* The point of no return was passed: whatever else went wrong, the new QEMU is the VM now. */
static void stranded(void)
{
        _cleanup_json_ json_object *record = NULL, *vm = NULL;
        struct varlink *v;

        fake_begin(STRANDED, STRANDED);
        v = ask("web1");
        record = fake_receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), "needs_operator");
        vm = describe("web1");
        EXPECT_INT(json_int(vm, "pid", 0), fake_destination);
        EXPECT_STR(json_str(vm, "state"), "running");
        varlink_free(v);
        fake_end();
}

static void check_refused(void)
{
        _cleanup_json_ json_object *reply = NULL, *before = history(WEB1), *after = NULL;

        fake_begin(REFUSE, REFUSE);
        reply = call("io.cprd.Check", WEB1);
        EXPECT(!json_str(reply, "error"));
        EXPECT(!json_flag(json_obj(reply, "parameters"), "passed"));
        EXPECT_INT(json_object_array_length(json_arr(json_obj(reply, "parameters"), "findings")), 1);
        /* A check is not a handoff. */
        after = history(WEB1);
        EXPECT_INT(json_object_array_length(after), json_object_array_length(before));
        fake_end();
}

static void check_passed(void)
{
        _cleanup_json_ json_object *reply = NULL;

        fake_begin(PASS, PASS);
        reply = call("io.cprd.Check", WEB1);
        EXPECT(json_flag(json_obj(reply, "parameters"), "passed"));
        fake_end();
}

static void not_allowed(void)
{
        static const char invalid[] = "org.varlink.service.InvalidParameter";

        fake_begin(FINISH, FINISH);
        expect_error("io.cprd.Handoff", json_text("{'name': 'web1', 'binary': '/tmp/qemu'}"),
                     "io.cprd.NotUsable");
        expect_error("io.cprd.Check",
                     json_text("{'name': 'web1', 'binary': '/usr/bin/../../tmp/qemu-system-x86_64'}"),
                     "io.cprd.NotUsable");
        expect_error("io.cprd.Handoff", json_text("{'name': 'web1', 'maxPause': 0}"), invalid);
        EXPECT_INT(fake_started, 0);
        fake_end();
}

static void helper_dies_once(void)
{
        _cleanup_json_ json_object *record = NULL;
        struct varlink *v;

        fake_begin(DIE_LATE, ROLL_BACK);
        v = ask("web1");
        record = fake_receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), "still_on_source");
        EXPECT_INT(fake_started, 2);
        varlink_free(v);
        fake_end();
}

static void expect_given_up(enum deed first, const char *outcome)
{
        _cleanup_json_ json_object *record = NULL;
        struct varlink *v;

        fake_begin(first, DIE);
        v = ask("web1");
        record = fake_receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), outcome);
        EXPECT(json_str(record, "remedy"));
        EXPECT_INT(fake_started, 5);
        varlink_free(v);
        fake_end();
}

/* What matters is whether it had begun. */
static void helper_dies_always(void)
{
        expect_given_up(DIE, "refused");
        expect_given_up(DIE_LATE, "needs_operator");
}

static void helper_never_starts(void)
{
        _cleanup_json_ json_object *reply = NULL;

        fake_begin(NEVER, NEVER);
        reply = call("io.cprd.Check", WEB1);
        EXPECT_STR(json_str(reply, "error"), "io.cprd.Failed");
        EXPECT_STR(json_str(json_obj(reply, "parameters"), "what"), "there is no such unit");
        fake_end();
}

static void busy_and_cancel(void)
{
        _cleanup_json_ json_object *record = NULL;
        struct varlink *v;

        fake_begin(WAIT_ABORT, WAIT_ABORT);
        expect_error("io.cprd.Cancel", WEB1, "io.cprd.NotCancellable");
        v = ask("web1");
        json_object_put(caller_receive(v));
        expect_state("web1", "handoff");
        expect_error("io.cprd.Handoff", WEB1, "io.cprd.Busy");
        expect_error("io.cprd.Check", WEB1, "io.cprd.Busy");
        expect_error("io.cprd.Unregister", WEB1, "io.cprd.Busy");
        expect_done("io.cprd.Cancel", WEB1);
        record = fake_receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), "still_on_source");
        varlink_free(v);
        fake_end();
}

/* The handoff does not need its caller; whoever knows its id can wait for its end. */
static void caller_goes_away(void)
{
        _cleanup_json_ json_object *reply = NULL, *first = NULL;
        struct varlink *v;

        fake_begin(WAIT_WORD, FINISH);
        v = ask("web1");
        first = caller_receive(v);
        varlink_free(v);
        for (int i = 0; i < 5; i++)
                turn();
        EXPECT(d.queue.jobs);
        v = caller_new();
        caller_send(v, "io.cprd.History",
                    json_text("{'id': '%s'}", json_str(json_obj(first, "parameters"), "id")), false);
        fake_go_on();
        reply = caller_receive(v);
        EXPECT_INT(json_object_array_length(json_arr(json_obj(reply, "parameters"), "records")), 1);
        varlink_free(v);
        fake_end();
}

/* One at a time: the second waits for the first, and can be cancelled meanwhile. */
static void one_at_a_time(void)
{
        _cleanup_json_ json_object *one = NULL, *two = NULL, *three = NULL;
        struct varlink *v, *w;
        pid_t other = qemu_start();

        fake_begin(WAIT_WORD, FINISH);
        register_vm("web2", other);
        d.config.handoffs = 1;
        v = ask("web1");
        expect_state("web1", "handoff");
        w = ask("web2");
        expect_state("web2", "handoff");
        EXPECT_INT(fake_started, 1);
        expect_done("io.cprd.Cancel", json_text("{'name': 'web2'}"));
        two = fake_receive_record(w);
        EXPECT_STR(json_str(two, "outcome"), "still_on_source");
        EXPECT_INT(fake_started, 1);
        caller_send(w, "io.cprd.Handoff", json_text("{'name': 'web2'}"), true);
        expect_state("web2", "handoff");
        fake_go_on();
        one = fake_receive_record(v);
        three = fake_receive_record(w);
        EXPECT_STR(json_str(one, "outcome"), "updated");
        EXPECT_INT(fake_started, 2);
        d.config.handoffs = 4;
        varlink_free(v);
        varlink_free(w);
        unregister_vm("web2");
        qemu_kill(other);
        fake_end();
}

static bool is_building(void)
{
        return d.queue.jobs && STREQ(d.queue.jobs->stage, "build");
}

/* Any file but the device is never held: closing it could hang. */
static void wrong_device(void)
{
        struct varlink *v;

        fake_begin(WRONG_DEVICE, WRONG_DEVICE);
        v = ask("web1");
        turn_until(is_building);
        EXPECT_INT(custody_get(&d.queue.jobs->custody, CUSTODY_DEVICE), -EBADF);
        EXPECT(custody_get(&d.queue.jobs->custody, CUSTODY_SOURCE) >= 0);
        fake_go_on();
        json_object_put(fake_receive_record(v));
        varlink_free(v);
        fake_end();
}

/* How many answers the order of the job in flight holds. */
static size_t count_learnt(void)
{
        return json_object_array_length(json_arr(d.queue.jobs->order, "learnt"));
}

/* What one cprd-handoff learnt about a binary, the next gets with its order, even after a restart. */
static void learnt(void)
{
        struct varlink *v;

        fake_begin(LEARN, LEARN);
        free(d.registry.vms->binary);
        d.registry.vms->binary = text_copy("/old/qemu");
        vm_save(d.registry.vms);
        v = ask("web1");
        turn_until(is_building);
        EXPECT_INT(count_learnt(), 0);
        fake_go_on();
        json_object_put(fake_receive_record(v));
        varlink_free(v);
        fixture_stop();
        fixture_start();
        free(d.registry.vms->binary);
        d.registry.vms->binary = text_copy("/old/qemu");
        v = ask("web1");
        turn_until(is_building);
        EXPECT_INT(count_learnt(), 1);
        fake_go_on();
        json_object_put(fake_receive_record(v));
        varlink_free(v);
        fake_end();
}

static void strange_record(void)
{
        _cleanup_json_ json_object *record = NULL, *records = NULL;
        struct varlink *v;

        fake_begin(STRANGE_RECORD, STRANGE_RECORD);
        v = ask("web1");
        record = fake_receive_record(v);
        EXPECT_STR(json_str(record, "outcome"), "needs_operator");
        EXPECT_STR(json_str(record, "name"), "web1");
        records = history(json_text("{'id': '%s'}", json_str(record, "id")));
        EXPECT_INT(json_object_array_length(records), 1);
        varlink_free(v);
        fake_end();
}

int main(void)
{
        fixture_set_up();
        TEST(updated);
        TEST(stranded);
        TEST(check_refused);
        TEST(check_passed);
        TEST(not_allowed);
        TEST(helper_dies_once);
        TEST(helper_dies_always);
        TEST(helper_never_starts);
        TEST(busy_and_cancel);
        TEST(caller_goes_away);
        TEST(one_at_a_time);
        TEST(wrong_device);
        TEST(learnt);
        TEST(strange_record);
        fixture_tear_down();
        return 0;
}
