# SPDX-License-Identifier: LGPL-2.1-or-later
# The tests and the demo; cprd itself is built and installed with Meson, see README.md. All of it needs root, for the
# packages it installs and for the lab, and takes it by sudo.
root := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=CPRD_LAB_CACHE,CPRD_LAB_MIRROR,CPRD_LAB_SECURITY_MIRROR)

.PHONY: demo check check-matrix check-kernel check-dkms bench dkms-deb clean

# A QEMU replaced twice under a guest with open connections, to look at.
demo:
	@$(root) tests/demo

# Unit tests, scenarios and the kernel's quick tests: at most 15 minutes.
check:
	@$(root) tests/check

# Everything killed at every stage of a handoff.
check-matrix:
	@$(root) tests/check --part check-matrix

# The kernel change on all kernels, and against its own mistakes.
check-kernel:
	@$(root) tests/kernel/check-kernel

# The DKMS package in Debian roots of its own: built, installed, its modules booted with Debian's kernels, removed.
check-dkms:
	@$(root) kernel/dkms/test trixie
	@$(root) kernel/dkms/test bookworm

bench:
	@$(root) tests/check --part bench

# The Debian package with the kernel change, into build/.
dkms-deb:
	@mkdir -p build && kernel/dkms/build-deb build

clean:
	$(root) rm -rf build
