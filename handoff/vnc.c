/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handoff/vnc.h"

#include "handoff/sockets.h"
#include "handoff/wait.h"

#define NAME "cprd-vnc" /* of the fds in the destination, with a number */

static size_t length(json_object *list)
{
        return list ? json_object_array_length(list) : 0;
}

static int ask(struct handoff *h, struct qmp *q, json_object **ret, struct failure *f)
{
        int r = wait_qmp(h, q, "query-vnc-servers", NULL, ret, f);

        if (r < 0 || json_object_is_type(*ret, json_type_array))
                return r;
        json_object_put(TAKE_PTR(*ret));
        return failure_set(f, EBADMSG, "QMP query-vnc-servers: that is no list");
}

/* The source's number of the socket that listens there; ENOENT. */
static int find_listener(const struct socket_fd *sockets, int n, json_object *server)
{
        const char *host = json_str(server, "host") ?: "", *service = json_str(server, "service") ?: "";

        for (int i = 0; i < n; i++)
                if (sockets[i].listens && *service && STREQ(sockets[i].service, service) &&
                    STREQ(sockets[i].host, host))
                        return sockets[i].number;
        return -ENOENT;
}

/* ---- check ---- */

static bool block_server(struct findings *fs, const char *id, json_object *server, int fd)
{
        const char *remedy = "start the VM without it";

        if (json_flag(server, "websocket"))
                finding_block(fs, id, remedy, "QEMU cannot be given the websocket port of a VNC display (%s)",
                              json_str(server, "service") ?: "?");
        else if (fd < 0)
                finding_block(fs, id, remedy, "the socket of the VNC display at %s cannot be found",
                              json_str(server, "service") ?: "?");
        return json_flag(server, "websocket") || fd < 0;
}

static void warn_of(struct findings *fs, const char *id, json_object *display)
{
        size_t clients = length(json_arr(display, "clients"));

        if (clients)
                finding_warn(fs, id, "have them connect again after the handoff, to the same address",
                             "a handoff cuts %zu clients of VNC display %s", clients,
                             json_str(display, "id") ?: "?");
        if (strstr(json_str(display, "auth") ?: "", "vnc"))
                finding_warn(
                        fs, id, "set it again after the handoff (QMP set_password)",
                        "QEMU does not tell the password of VNC display %s: nobody can log in until it is "
                        "set again, unless it is a password-secret",
                        json_str(display, "id") ?: "?");
}

static int look_at(struct handoff *h, struct findings *fs, const char *id, json_object *displays)
{
        _cleanup_free_ struct socket_fd *sockets = NULL;
        int n = sockets_list(&h->source.process, &sockets), listening = 0;

        for (size_t i = 0; i < length(displays); i++) {
                json_object *display = json_object_array_get_idx(displays, i),
                            *servers = json_arr(display, "server");

                for (size_t j = 0; j < length(servers); j++) {
                        json_object *server = json_object_array_get_idx(servers, j);

                        if (block_server(fs, id, server, find_listener(sockets, n, server)))
                                return -EPERM;
                }
                listening += length(servers) > 0;
                if (length(servers))
                        warn_of(fs, id, display);
        }
        return listening;
}

void check_vnc(struct handoff *h, struct findings *fs, const char *id)
{
        _cleanup_json_ json_object *displays = NULL;
        struct failure f = {};
        int n = 0, r = ask(h, h->source.qmp, &displays, &f);

        if (r == -EREMOTEIO) /* a QEMU that was built without it */
                return finding_pass(fs, id, "this QEMU has no VNC");
        if (r < 0) {
                if (f.error != ECANCELED) /* which says nothing of the VM */
                        finding_block(fs, id, "make sure that QEMU answers query-vnc-servers", "%s", f.what);
                return;
        }
        n = look_at(h, fs, id, displays);
        if (n > 1)
                finding_block(fs, id, "start the VM with one VNC display",
                              "QEMU can be given the address of its first VNC display only");
        else if (n >= 0)
                finding_pass(fs, id, n ? "the VNC display keeps its address" : "no VNC display listens");
}

/* ---- the address changes hands ---- */

/* Gives the destination the socket, as the next name in h->facts.vnc. */
static int give(struct handoff *h, int number, struct failure *f)
{
        _cleanup_close_ int fd = process_get_fd(&h->source.process, number);
        _cleanup_free_ char *name = text_print(NAME "%zu", length(h->facts.vnc));

        if (fd < 0)
                return failure_set(f, fd, "cannot duplicate the socket of the VNC display: %s",
                                   strerror(-fd));
        json_object_array_add(h->facts.vnc, json_object_new_string(name));
        return wait_qmp_fd(h, h->destination.qmp, "getfd", qmp_arguments("fdname", name, NULL), fd, NULL, f);
}

int vnc_match(struct handoff *h, struct failure *f)
{
        _cleanup_json_ json_object *displays = NULL;
        _cleanup_free_ struct socket_fd *sockets = NULL;
        int n, r = ask(h, h->source.qmp, &displays, f);

        if (r == -EREMOTEIO)
                return 0;
        n = r < 0 ? 0 : sockets_list(&h->source.process, &sockets);
        json_object_put(h->facts.vnc);
        h->facts.vnc = json_object_new_array();
        for (size_t i = 0; r >= 0 && i < length(displays); i++) {
                json_object *servers = json_arr(json_object_array_get_idx(displays, i), "server");

                for (size_t j = 0; r >= 0 && j < length(servers); j++) {
                        int fd = find_listener(sockets, n, json_object_array_get_idx(servers, j));

                        r = fd < 0 ? failure_set(f, ESTALE, "the VNC display listens elsewhere by now")
                                   : give(h, fd, f);
                }
        }
        return r < 0 ? r : handoff_note(h, "vnc", f);
}

static json_object *update_arguments(json_object *names)
{
        json_object *o = qmp_arguments("type", "vnc", NULL), *addresses = json_object_new_array();

        for (size_t i = 0; i < length(names); i++)
                json_object_array_add(
                        addresses,
                        qmp_arguments("type", "fd", "str",
                                      json_object_get_string(json_object_array_get_idx(names, i)), NULL));
        json_add(o, "addresses", addresses);
        return o;
}

/* The first display, which display-update is about. */
static bool listens(json_object *displays)
{
        for (size_t i = 0; i < length(displays); i++)
                if (length(json_arr(json_object_array_get_idx(displays, i), "server")))
                        return true;
        return false;
}

int vnc_retire(struct handoff *h, struct failure *f)
{
        _cleanup_json_ json_object *displays = NULL;
        struct qmp *q = h->destination.qmp;
        int r;

        if (!length(h->facts.vnc))
                return 0;
        if (!q)
                return failure_set(f, ENOTCONN, "the VNC display has no address: no QMP connection");
        r = ask(h, q, &displays, f);
        if (r < 0 || listens(displays)) /* already done */
                return r;
        return wait_qmp(h, q, "display-update", update_arguments(h->facts.vnc), NULL, f);
}
