# SPDX-License-Identifier: GPL-2.0-only
#
# The house of isthmus: what is built, tested and installed. 'make help' lists
# what to type. Everything that is made lies under build/:
#
#	build/kernel/NAME	a kernel to boot, and its headers
#	build/module-NAME	isthmus.ko for it
#	build/lib build/bin build/examples
#	build/unit build/unit-tsan build/kselftest build/hostile build/bench
#	build/check		logs of 'make check'
#
# A new .c file in lib/, tools/, examples/ or tests/ is found by itself.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

VERSION := 0.1.0
SOVERSION := 0

# What a user may set.
KERNEL ?= stock
PREFIX ?= /usr/local
DESTDIR ?=
LIBDIR ?= $(PREFIX)/lib
CC := gcc
OPT ?= -O2 -g
# PACKAGES=no: do not look whether Debian packages are missing.
PACKAGES ?= yes

# The debug kernel comes out of a folder beside the tree, else out of
# 'make debug-kernel'.
DEBUG_KERNEL ?= $(firstword $(patsubst %/bzImage,%,$(wildcard ../shared/debug-kernel/bzImage)) build/debug-kernel)

# For the make that lint starts.
export DEBUG_KERNEL PACKAGES CC

ifeq ($(V),1)
Q :=
say := @:
else
Q := @
say := @printf '  %-8s%s\n'
endif

KERNELS := stock $(if $(wildcard $(DEBUG_KERNEL)/bzImage),debug)
ifeq ($(filter stock debug,$(KERNEL)),)
$(error KERNEL=$(KERNEL): it is stock or debug)
endif

# --- user-space sources -------------------------------------------------------

lib_src := $(wildcard lib/*.c)
tool_src := $(wildcard tools/*.c)
programs = $(patsubst $(1)/%.c,build/$(2)/%,$(wildcard $(1)/*.c))

examples := $(call programs,examples,examples)
units := $(call programs,tests/unit,unit)
# Programs that are about threads run under the thread sanitizer too.
units_tsan := $(patsubst tests/unit/%.c,build/unit-tsan/%,$(wildcard tests/unit/thread_*.c))
kselftests := $(call programs,tests/kselftest,kselftest)
# Also built for 32-bit callers. None with threads: the debug kernel lacks the
# system call that 32-bit glibc waits with.
kselftests += $(patsubst tests/kselftest/%.c,build/kselftest/%-m32,$(wildcard tests/kselftest/*_32.c))
hostiles := $(call programs,tests/hostile,hostile)
benches := $(call programs,tests/bench,bench)
doc_examples := $(if $(wildcard docs/extract-examples),$(if $(wildcard README.md),build/doc-examples/.done))

lib := $(if $(lib_src),build/lib/libisthmus.a build/lib/libisthmus.so)
tool := $(if $(tool_src),build/bin/isthmus)
modules := $(if $(wildcard module/main.c),$(KERNELS:%=module-%))

# --- flags ----------------------------------------------------------------------

warnings := -Wall -Wextra -Wstrict-prototypes -Wmissing-prototypes -Wshadow \
	-Wpointer-arith -Wvla -Wundef -Wwrite-strings -Werror
cflags = -std=gnu11 $(OPT) $(warnings) -D_GNU_SOURCE -DISTHMUS_VERSION='"$(VERSION)"' \
	-Iinclude -Iinclude/uapi -MMD -MP
lib_cflags := -fPIC -fvisibility=hidden
test_cflags := -Itests -Itests/kselftest -Itests/unit -isystem build/kselftest-headers \
	-Wno-missing-prototypes
# What a program does not use it is not linked with.
ldlibs := -pthread -Wl,--as-needed -luring
san_cflags := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
tsan_cflags := -O1 -g -fno-omit-frame-pointer -fsanitize=thread

.PHONY: help all demo check vm bench lint mutants install uninstall clean debug-kernel \
	packages user user-tests \
	kernel-stock kernel-debug module-stock module-debug \
	kernel-install module-install lint-module-stock lint-module-debug lint-analyzer

help:
	@echo 'isthmus $(VERSION): memory that is shared and can be taken back'
	@echo
	@echo '  make demo        see it work, on a stock kernel in a virtual machine'
	@echo '  make check       every test, on the stock and the debug kernel'
	@echo '                   TESTS="NAME..." only these programs; lint and unit are names too'
	@echo '  make vm          a root shell in the virtual machine, module loaded'
	@echo '  make bench       figures against the peers; JSON=FILE writes them as a list too'
	@echo '  make lint        style and static analysis alone'
	@echo '  make mutants     take the code of each guarantee out, and see its test fail'
	@echo '  make all         build everything, run nothing'
	@echo '  make install     library, headers, tools, manual pages and the module for the'
	@echo '                   running kernel (DESTDIR=, PREFIX=$(PREFIX)); nothing is loaded'
	@echo '  make uninstall   take that away again'
	@echo '  make clean       remove build/'
	@echo '  make debug-kernel  build the debug kernel (about 10 minutes)'
	@echo
	@echo '  KERNEL=stock|debug  the kernel for demo, vm and bench; for check: only that one'
	@echo '  V=1                 show every command'
	@echo '  MODULE=no           install without the module; INSTALL_KERNEL=VERSION: for another kernel'
	@echo
	@echo 'Missing Debian packages are installed first (packaging/debian-packages says which).'

.DEFAULT:
	@[[ " $(MAKECMDGOALS) " == *" $@ "* ]] || { echo "make: '$@' is needed, but missing" >&2; exit 2; }
	@echo "make: there is no target '$@'; these there are:" >&2
	@$(MAKE) help >&2
	@exit 2

force: ;

packages:
ifneq ($(PACKAGES),no)
	@packaging/install-packages
endif

all: packages $(modules) user user-tests

user: $(lib) $(tool) $(examples)

user-tests: $(units) $(units_tsan) $(kselftests) $(hostiles) $(benches) $(doc_examples)

# --- kernels and modules --------------------------------------------------------

kernel-stock: packages
	@tests/vm/prepare-kernel stock build/kernel/stock

kernel-debug: packages
	@tests/vm/prepare-kernel debug build/kernel/debug '$(DEBUG_KERNEL)'

# kbuild writes its objects beside the sources. To have them under build/, one
# folder a kernel, that folder gets links to the sources; kbuild does the rest,
# dependencies included. The link of a removed source goes; when the kernel
# changes, so does every object.
define link_sources
mkdir -p $(1)/module && cd $(1) && \
{ cmp -s ../kernel/$*/version .version || rm -f .*.cmd module/.*.cmd; } && \
cp ../kernel/$*/version .version && \
find module -xtype l -delete && \
ln -sfn ../../Kbuild Kbuild && \
ln -sfn ../../include include && \
ln -sf -t module $(patsubst %,../../../%,$(wildcard module/*.[ch]))
endef

kbuild = $(MAKE) -C build/kernel/$*/headers M='$(CURDIR)/$(1)' \
	$(if $(filter 1,$(V)),,-s) $(kbuild_flags_$*)

# Debian's headers come without vmlinux, which module type information needs.
kbuild_flags_stock := CONFIG_DEBUG_INFO_BTF_MODULES=
kbuild_flags_install = $(if $(wildcard build/kernel/install/headers/vmlinux),,CONFIG_DEBUG_INFO_BTF_MODULES=)

module-stock module-debug module-install: module-%: kernel-%
	$(say) KBUILD $*
	$(Q)$(call link_sources,build/module-$*)
	+$(Q)$(call kbuild,build/module-$*) $(if $(W),W=$(W)) modules

# sparse has its own idea of what is clean (C=2), and W=1 more warnings; only
# what they say about our files counts, not about the kernel's headers.
lint-module-stock lint-module-debug: lint-module-%: kernel-%
	$(Q)$(call link_sources,build/lint-$*)
	+$(Q)$(call kbuild,build/lint-$*) W=1 C=2 KCFLAGS=-Werror CF=-Wsparse-error modules

# --- library, tools, examples -----------------------------------------------------

# Changes when a source comes or goes: what is linked of them all does too.
build/.sources: force
	$(Q)mkdir -p $(@D)
	$(Q)echo "$(lib_src) $(tool_src)" | cmp -s - $@ || echo "$(lib_src) $(tool_src)" >$@

lib_obj := $(lib_src:%.c=build/obj/%.o)
lib_obj32 := $(lib_src:%.c=build/obj32/%.o)
tool_obj := $(tool_src:%.c=build/obj/%.o)

build/obj/lib/%.o: lib/%.c Makefile | packages
	$(say) CC lib/$*.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(cflags) $(lib_cflags) $(CFLAGS) -c -o $@ $<

build/obj32/lib/%.o: lib/%.c Makefile | packages
	$(say) CC32 lib/$*.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -m32 $(cflags) $(lib_cflags) $(CFLAGS) -c -o $@ $<

build/obj/tools/%.o: tools/%.c Makefile | packages
	$(say) CC tools/$*.c
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(cflags) $(CFLAGS) -c -o $@ $<

build/lib/libisthmus.a: $(lib_obj) build/.sources
build/lib32/libisthmus.a: $(lib_obj32) build/.sources
build/lib/libisthmus.a build/lib32/libisthmus.a:
	$(say) AR $(@:build/%=%)
	$(Q)mkdir -p $(@D) && rm -f $@
	$(Q)ar rcs $@ $(filter %.o,$^)

build/lib/libisthmus.so: $(lib_obj) $(wildcard lib/libisthmus.map) build/.sources
	$(say) LD lib/libisthmus.so.$(VERSION)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -shared -Wl,-soname,libisthmus.so.$(SOVERSION) -Wl,-z,defs -Wl,-z,relro,-z,now \
		$(patsubst %,-Wl$(comma)--version-script=%,$(filter %.map,$^)) $(LDFLAGS) \
		-o $@.$(VERSION) $(filter %.o,$^) -pthread
	$(Q)ln -sf libisthmus.so.$(VERSION) $@.$(SOVERSION)
	$(Q)ln -sf libisthmus.so.$(SOVERSION) $@
	$(Q)touch -h $@

comma := ,

build/bin/isthmus: $(tool_obj) build/lib/libisthmus.a build/.sources
	$(say) LD bin/isthmus
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) -pthread

# --- programs of one file each ------------------------------------------------------

# $(1) folder under build/, $(2) source folder, $(3) suffix, $(4) flags, $(5) libraries
define program
build/$(1)/%$(3): $(2)/%.c Makefile $(filter %.a,$(5)) | packages $(if $(findstring tests/,$(2)),build/kselftest-headers/.done)
	$$(say) CC '$(2)/$$*.c$(if $(3), ($(3:-%=%)))'
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $(cflags) $(4) $$(CFLAGS) $$(LDFLAGS) -MF $$@.d -o $$@ $$< $(5)
endef

libisthmus := $(if $(lib_src),build/lib/libisthmus.a)
libisthmus32 := $(if $(lib_src),build/lib32/libisthmus.a)

$(eval $(call program,examples,examples,,,$(libisthmus) -pthread))
$(eval $(call program,kselftest,tests/kselftest,-m32,-m32 $(test_cflags),$(libisthmus32) -pthread))
$(eval $(call program,kselftest,tests/kselftest,,$(test_cflags),$(libisthmus) $(ldlibs)))
$(eval $(call program,hostile,tests/hostile,,$(test_cflags),$(libisthmus) $(ldlibs)))
$(eval $(call program,bench,tests/bench,,$(test_cflags),$(libisthmus) $(ldlibs)))

# The unit tests see the library's insides, compiled with the same sanitizer.
unit_objs = $(lib_src:%.c=build/obj-$(1)/%.o)
build/obj-asan/lib/%.o: lib/%.c Makefile | packages
	$(say) CC 'lib/$*.c (asan)'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(cflags) $(san_cflags) $(CFLAGS) -c -o $@ $<

build/obj-tsan/lib/%.o: lib/%.c Makefile | packages
	$(say) CC 'lib/$*.c (tsan)'
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(cflags) $(tsan_cflags) $(CFLAGS) -c -o $@ $<

build/obj-asan/libisthmus.a: $(call unit_objs,asan) build/.sources
build/obj-tsan/libisthmus.a: $(call unit_objs,tsan) build/.sources
build/obj-asan/libisthmus.a build/obj-tsan/libisthmus.a:
	$(Q)rm -f $@ && ar rcs $@ $(filter %.o,$^)

$(eval $(call program,unit,tests/unit,,$(san_cflags) $(test_cflags) -Ilib -Itools,$(if $(lib_src),build/obj-asan/libisthmus.a) -pthread))
$(eval $(call program,unit-tsan,tests/unit,,$(tsan_cflags) $(test_cflags) -Ilib -Itools,$(if $(lib_src),build/obj-tsan/libisthmus.a) -pthread))

# gcc's path analysis of what is installed; the object is only a stamp. Not of
# the tests: their harness returns in ways that it cannot follow.
analyzer_src := $(lib_src) $(tool_src) $(wildcard examples/*.c)
lint-analyzer: $(analyzer_src:%.c=build/obj-analyzer/%.o)

build/obj-analyzer/%.o: %.c Makefile build/kselftest-headers/.done
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(cflags) $(test_cflags) -Ilib -Itools -fanalyzer -fdiagnostics-path-format=none -c -o $@ $<

# kselftest's headers, checkpatch and friends: a few files out of Debian's
# archive of the kernel's source.
build/kselftest-headers/.done: | packages
	$(Q)tests/vm/fetch-kernel-source build/kselftest-headers build/checkpatch
	$(Q)touch $@

# --- manual pages' examples -----------------------------------------------------------

# They are compiled, and run by 'make check', as they are printed.
build/doc-examples/.done: docs/extract-examples README.md $(wildcard docs/*.3) \
		include/isthmus.h $(libisthmus) | packages
	$(say) CC 'examples of the manual pages'
	$(Q)rm -rf $(@D) && mkdir -p $(@D)/src
	$(Q)docs/extract-examples $(@D)/src
	$(Q)for file in $(@D)/src/*.c; do \
		$(CC) $(filter-out -MMD -MP,$(cflags)) -Wno-missing-prototypes $(CFLAGS) \
			-o $(@D)/$$(basename $$file .c) $$file $(libisthmus) -pthread; done
	$(Q)touch $@

# --- running it -----------------------------------------------------------------------

# Colour and width go along when this is somebody's terminal.
terminal := $(if $(MAKE_TERMOUT),-e CLICOLOR_FORCE=1 -e TERM='$(TERM)' -e COLUMNS="$$(tput cols)")

demo: module-$(KERNEL) user
	@tests/vm/run --kernel '$(KERNEL)' --module $(terminal) -- isthmus demo

# Both kernels, unless the user picked one.
check_kernels := $(if $(filter file,$(origin KERNEL)),stock debug,$(KERNEL))

check: all
	@TESTS='$(TESTS)' tests/check/run $(check_kernels)

vm: module-$(KERNEL) user user-tests
	@tests/vm/run --kernel '$(KERNEL)' --module --interactive --time 0 -e TERM='$(TERM)' -- tests/vm/shell || \
		{ status=$$?; [ $$status -lt 124 ] || exit $$status; }

bench: module-$(KERNEL) user $(benches)
	@KERNEL='$(KERNEL)' JSON='$(JSON)' tests/bench/run

lint: $(lib) build/kselftest-headers/.done $(KERNELS:%=kernel-%)
	@tests/lint/run

mutants: module-stock user-tests
	@tests/mutation/run $(TESTS)

clean:
	@rm -rf build || { echo 'cannot remove build/: sudo make install left files of root there; try sudo make clean' >&2; exit 1; }

debug-kernel:
	@packaging/install-packages debug-kernel
	@tests/vm/debug-kernel/build-kernel build/debug-kernel

# --- installing -------------------------------------------------------------------------

# MODULE=no leaves the module out, INSTALL_KERNEL picks another kernel than the
# running one. Nothing is loaded.
MODULE ?= yes
INSTALL_KERNEL ?= $(shell uname -r)
SYSCONF_UDEV := /usr/lib/udev/rules.d
SYSUSERS := /usr/lib/sysusers.d
manuals := $(wildcard docs/*.[1-8])
dest = '$(DESTDIR)$(1)'

build/kernel/install/version: force
	@[ -e '/lib/modules/$(INSTALL_KERNEL)/build/Makefile' ] || { echo "no headers for kernel $(INSTALL_KERNEL):" \
		'apt-get install linux-headers-$(INSTALL_KERNEL), or make install MODULE=no' >&2; exit 1; }
	$(Q)mkdir -p $(@D)
	$(Q)ln -sfn '/lib/modules/$(INSTALL_KERNEL)/build' $(@D)/headers
	$(Q)echo '$(INSTALL_KERNEL)' | cmp -s - $@ || echo '$(INSTALL_KERNEL)' >$@

kernel-install: build/kernel/install/version

build/isthmus.pc: packaging/isthmus.pc.in force
	$(Q)mkdir -p $(@D)
	$(Q)sed 's,@PREFIX@,$(PREFIX),; s,@LIBDIR@,$(LIBDIR),; s,@VERSION@,$(VERSION),' $< >$@

install: user build/isthmus.pc $(if $(filter yes,$(MODULE)),module-install)
	$(say) INSTALL '$(DESTDIR)$(PREFIX)'
	$(Q)install -d $(call dest,$(LIBDIR)/pkgconfig) $(call dest,$(PREFIX)/include/linux) $(call dest,$(PREFIX)/bin) \
		$(call dest,$(SYSCONF_UDEV)) $(call dest,$(SYSUSERS))
	$(Q)install -m 644 build/lib/libisthmus.a $(call dest,$(LIBDIR))
	$(Q)install -m 644 build/lib/libisthmus.so.$(VERSION) $(call dest,$(LIBDIR))
	$(Q)cp -P build/lib/libisthmus.so build/lib/libisthmus.so.$(SOVERSION) $(call dest,$(LIBDIR))
	$(Q)install -m 644 build/isthmus.pc $(call dest,$(LIBDIR)/pkgconfig)
	$(Q)install -m 644 include/isthmus.h $(call dest,$(PREFIX)/include)
	$(Q)install -m 644 include/uapi/linux/isthmus.h $(call dest,$(PREFIX)/include/linux)
	$(Q)install -m 755 build/bin/isthmus $(call dest,$(PREFIX)/bin)
	$(Q)for page in $(manuals); do \
		folder=$(call dest,$(PREFIX)/share/man)/man$${page##*.}; \
		install -d "$$folder"; \
		if [ -L "$$page" ]; then cp -P "$$page" "$$folder"; else install -m 644 "$$page" "$$folder"; fi; done
	$(Q)install -m 644 packaging/60-isthmus.rules $(call dest,$(SYSCONF_UDEV))
	$(Q)install -m 644 packaging/isthmus.sysusers $(call dest,$(SYSUSERS)/isthmus.conf)
ifeq ($(MODULE),yes)
	$(Q)install -D -m 644 build/module-install/isthmus.ko $(call dest,/lib/modules/$(INSTALL_KERNEL)/updates/isthmus.ko)
endif
ifeq ($(DESTDIR),)
	$(Q)[ '$(MODULE)' != yes ] || depmod '$(INSTALL_KERNEL)'
	$(Q)ldconfig
	$(Q)systemd-sysusers isthmus.conf 2>/dev/null || getent group isthmus >/dev/null || groupadd --system isthmus
	$(Q)udevadm control --reload 2>/dev/null || true
	@echo 'installed; nothing is loaded. Load it: modprobe isthmus. Who may use it: adduser USER isthmus'
endif

uninstall:
	$(say) REMOVE '$(DESTDIR)$(PREFIX)'
	$(Q)rm -f $(call dest,$(LIBDIR))/libisthmus.{a,so,so.$(SOVERSION),so.$(VERSION)} \
		$(call dest,$(LIBDIR)/pkgconfig/isthmus.pc) $(call dest,$(PREFIX)/include/isthmus.h) \
		$(call dest,$(PREFIX)/include/linux/isthmus.h) $(call dest,$(PREFIX)/bin/isthmus) \
		$(foreach page,$(notdir $(manuals)),$(call dest,$(PREFIX)/share/man/man$(lastword $(subst ., ,$(page)))/$(page))) \
		$(call dest,$(SYSCONF_UDEV)/60-isthmus.rules) $(call dest,$(SYSUSERS)/isthmus.conf) \
		$(call dest,/lib/modules/$(INSTALL_KERNEL)/updates/isthmus.ko)
ifeq ($(DESTDIR),)
	$(Q)depmod '$(INSTALL_KERNEL)' 2>/dev/null || true
	$(Q)ldconfig
endif

-include $(shell [ ! -d build ] || find build \( -path build/kernel -o -path "build/module-*" -o \
	-path "build/lint-*" -o -path build/debug-kernel \) -prune -o -name "*.d" -print)
