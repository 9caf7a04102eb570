# SPDX-License-Identifier: LGPL-2.1-or-later
# Packages, tests and the demo. To build and install cprd without packages, use Meson; see README.md. Everything here
# needs root, to install packages and to run the lab, and uses sudo to get it.
root := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=CPRD_LAB_CACHE,CPRD_LAB_MIRROR,CPRD_LAB_SECURITY_MIRROR)

.PHONY: demo check check-matrix check-kernel check-dkms check-packages bench deb fuzz fuzz-coverage clean

# Shows two live updates of a guest with open connections.
demo:
	@$(root) tests/demo

# Unit tests, scenarios and the kernel's quick tests: 25 to 40 minutes on two cores, and 15 more the first time.
check:
	@$(root) tests/check

# Kills everything that can be killed, at every stage of a handoff.
check-matrix:
	@$(root) tests/check --part check-matrix

# Tests the kernel change on all kernels, and the tests themselves with deliberate mistakes in the change.
check-kernel:
	@$(root) tests/kernel/check-kernel

# Installs the DKMS package in fresh Debian roots, boots Debian's kernels with its modules, and removes it.
check-dkms:
	@$(root) kernel/dkms/test trixie
	@$(root) kernel/dkms/test bookworm

# Fuzzes every parser, and the engine, for some seconds each (docs/hardening.md).
FUZZ_SECONDS = 60
fuzz:
	@tests/fuzz/run --seconds $(FUZZ_SECONDS)

# How much of each parser the inputs in the tree, and those found so far, reach.
fuzz-coverage:
	@tests/fuzz/run --coverage

bench:
	@$(root) tests/check --part bench

# Builds the packages for Debian 12 and 13, in build/deb/bookworm and build/deb/trixie.
deb:
	@$(root) debian/build-packages

# Tests these packages: built twice, checked by lintian, installed, upgraded, removed and purged.
check-packages:
	@$(root) tests/install/packages

clean:
	$(root) rm -rf build
