# SPDX-License-Identifier: LGPL-2.1-or-later
# The packages, the tests and the demo. To build and install cprd without packages use Meson, see README.md. All of it
# needs root, for the packages that it installs and for the lab, and gets it by sudo.
root := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=CPRD_LAB_CACHE,CPRD_LAB_MIRROR,CPRD_LAB_SECURITY_MIRROR)

.PHONY: demo check check-matrix check-kernel check-dkms check-packages bench deb clean

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

# The Debian packages, for Debian 12 and 13, into build/deb/bookworm and build/deb/trixie.
deb:
	@$(root) debian/build-packages

# These packages: built twice, looked through by lintian, installed and purged in fresh roots.
check-packages:
	@$(root) tests/install/packages

clean:
	$(root) rm -rf build
