# SPDX-License-Identifier: BSD-3-Clause
# make help        what there is to make
# V=1              show the commands        SAN=address,undefined  sanitizers
# WERROR=1         warnings are errors      O=DIR                  build folder

SHELL   := /bin/bash
CC      ?= cc
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
LIBEXECDIR ?= $(PREFIX)/libexec
MANDIR  ?= $(PREFIX)/share/man
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
UNITDIR ?= $(PREFIX)/lib/systemd/system
MODLOADDIR ?= $(PREFIX)/lib/modules-load.d
VUSERDIR ?= $(PREFIX)/share/qemu/vhost-user
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
PKG_CONFIG ?= pkg-config
OBJCOPY ?= objcopy
LINKER ?= $(CC)

VERSION := 0.1.0
comma   := ,
O       ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
# With sanitizers the optimizer costs more time than it saves.
CFLAGS  ?= $(if $(SAN),-O1 -g1,-O2 -g)
WARN := -Wall -Wextra -Wshadow -Wvla -Wundef -Wformat=2 -Wpointer-arith \
	-Wstrict-prototypes -Wmissing-prototypes -Wimplicit-fallthrough \
	$(if $(findstring clang,$(CC)),-Wthread-safety)
COMMON := -std=gnu11 -D_GNU_SOURCE -MMD -MP -pthread $(WARN) \
	$(if $(WERROR),-Werror) $(if $(SAN),-fsanitize=$(SAN) \
	-fno-sanitize-recover=all -fno-omit-frame-pointer -DUVHOST_SANITIZED) \
	$(if $(findstring thread,$(SAN)),-Wno-tsan) \
	$(if $(FUZZING),-fsanitize=fuzzer-no-link)
LINK := -pthread $(if $(SAN),-fsanitize=$(SAN))
Q    := $(if $(filter 1,$(V)),,@)
say   = $(if $(Q),@printf '  %-7s %s\n' $(1) $(2))
pkg   = $(shell $(PKG_CONFIG) $(1) 2>/dev/null)

# ---- sources ----

# Used by every folder: log, rate limits, parser, event loop, worker, listener.
NET_BASE_SRC := $(addprefix net/base/,log.c log_limit.c ratelimit.c parse.c error_line.c \
	loop.c worker.c unixsock.c fdsend.c)
NET_SRC   := $(NET_BASE_SRC) $(addprefix net/port/,netport.c tap.c packet.c null.c loop.c gen.c \
	framestream.c netaddr.c qemu_dgram.c qemu_stream.c pcap_player.c framering.c \
	framering_port.c netif.c netif_kinds.c netif_tap.c netif_macvtap.c netif_packet.c \
	netif_pcap.c netif_pcapfile.c netif_qemu.c netif_gen.c netif_null.c) \
	$(addprefix net/offload/,offload.c segment.c checksum.c flow.c) \
	$(addprefix net/capture/,pcapng.c capture_out.c capture_file.c capture.c) \
	$(addprefix net/switch/,network.c swport.c mactable.c pkt.c \
	rxq.c port_tx.c deliver.c port_rx.c tx_direct.c uplink.c) \
	net/attach.c
# Interfaces by name are the daemon's affair; the library does without libpcap.
NET_LIB_SRC := $(filter-out net/port/netif% net/port/pcap_% net/port/qemu_% \
	net/port/framering% net/switch/uplink.c net/attach.c,$(NET_SRC))
VHOST_SRC := $(addprefix vhost/mem/,aspace.c rangemap.c memview.c) \
	$(addprefix vhost/virtq/,virtq.c virtq_split.c virtq_packed.c inflight.c dirtylog.c) \
	$(addprefix vhost/dev/,vdev.c vdev_mem.c vdev_queue.c vdev_backend.c \
	vdev_print.c virtio_net.c virtio_net_tx.c virtio_net_rx.c iotlb.c) \
	$(addprefix vhost/user/,vu_msg.c vu_session.c vu_dispatch.c vu_table.c vu_pair.c \
	vu_report.c vu_device.c vu_ring.c vu_mem.c vu_channel.c vu_inflight.c vu_migrate.c)
FE_SRC    := $(addprefix vhost/frontend/,fe.c fe_vring.c fe_log.c fe_base.c fe_kernel.c fe_vdpa.c \
	fe_user.c fe_user_msg.c fe_user_events.c fe_user_migrate.c fe_user_connect.c fe_inproc.c)
# The library: frontends, and what they need of the device.
LIB_SRC   := $(FE_SRC) $(NET_LIB_SRC) $(filter-out vhost/user/%,$(VHOST_SRC)) \
	vhost/user/vu_msg.c
CUSE_SRC  := $(addprefix cuse/,main.c options.c keys.c items.c config.c server.c watchdog.c \
	quota.c closer.c chardev.c channel.c session.c session_caller.c ioctl_table.c ioctl.c \
	devsession.c devlink_local.c devmem.c peer.c peermaps.c peeruser.c owner_maps.c \
	map_budget.c reach.c vmas.c node.c takeover.c confine.c notify.c store.c bag.c \
	record.c slots.c persist.c session_keep.c chardev_keep.c lastconfig.c procfile.c \
	vusock.c vuproc.c vukeep.c nets.c wproc.c spawner.c taker.c session_worker.c \
	session_net.c devlink_remote.c wmsg.c netproc.c netproc_told.c netmsg.c)

# Lowest floor first: a file includes, with its path, a header of a floor below
# only if CROSSING names it. make headers-check
FLOORS   := net/base net/offload net/capture net/port net/switch net \
	vhost/mem vhost/virtq vhost/dev vhost/user vhost/frontend cuse
CROSSING := $(addprefix net/capture/,capture_file.h pcapng.h) vhost/mem/memview.h \
	$(addprefix vhost/virtq/,virtq.h inflight.h dirtylog.h) \
	$(addprefix vhost/user/,vu_proto.h vu_msg.h vu_backend_req.h)

# Keeps the descriptors of uvhostd where there is no systemd.
KEEPER_SRC := cuse/keeper.c cuse/notify.c net/base/parse.c

# The device of one open file, one vhost-user connection, or one network: what reads
# a guest's bytes and nothing else. No libfuse, inih or libpcap; the interfaces are
# those that are nothing but descriptors.
WORKER_SRC := $(addprefix cuse/,wmain.c wdog.c wfilter.c wserve.c wvu.c wnet.c wmsg.c netmsg.c \
	devsession.c devmem.c owner_maps.c ioctl.c ioctl_table.c watchdog.c) \
	$(filter-out %/unixsock.c,$(NET_BASE_SRC)) \
	$(addprefix net/port/,netport.c tap.c packet.c null.c loop.c framering.c framering_port.c netif.c \
	netif_kinds_fd.c netif_tap.c netif_macvtap.c netif_packet.c netif_null.c) \
	$(filter net/offload/% net/capture/% net/switch/%,$(NET_SRC)) \
	net/attach_fd.c $(VHOST_SRC)

objs = $(patsubst %.c,$(O)/%.o,$(1))
CORE := $(call objs,$(NET_SRC) $(VHOST_SRC))
FE   := $(call objs,$(FE_SRC))

LIB_STATIC := $(O)/libuvhost.a
LIB_SHARED := $(O)/libuvhost.so.0

all: programs lib
programs: $(O)/uvhostd $(O)/uvhost-worker $(O)/uvhost-keeper
lib: $(LIB_STATIC) $(LIB_SHARED)

# ---- programs ----

define link
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINKER) $(LINK) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS) $(PCAP) $(LDLIBS)
endef

# What names ports needs it.
PCAP = $(if $(filter %/netif_pcap.o,$^),$(call pkg,--libs libpcap))

$(O)/uvhostd: LIBS = $(call pkg,--libs fuse3 inih)
$(O)/uvhostd: $(call objs,$(CUSE_SRC)) $(CORE)
	$(link)

$(O)/uvhost-worker: LIBS = $(call pkg,--libs libseccomp)
$(O)/uvhost-worker: $(call objs,$(WORKER_SRC))
	$(link)

$(O)/uvhost-keeper: $(call objs,$(KEEPER_SRC))
	$(link)

# What is not uvh_* is nobody's business: not in the shared library (version
# script), nor in the static one, which is one object with the rest made local.
LIB_OBJ := $(LIB_SRC:%.c=$(O)/lib/%.o)
$(O)/lib/%.o: %.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) -fPIC -fvisibility=hidden -DLOG_SILENT -I. \
		-Iinclude -I$(<D) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(LIB_STATIC): $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)$(LD) -r -o $(O)/lib/uvhost.o $^
	$(Q)$(OBJCOPY) --localize-hidden $(O)/lib/uvhost.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(O)/lib/uvhost.o

$(LIB_SHARED): $(LIB_OBJ) vhost/frontend/libuvhost.map
	$(call say,LD,$@)
	$(Q)$(LINKER) $(LINK) -shared -Wl,-soname,$(@F) \
		-Wl,--version-script=vhost/frontend/libuvhost.map $(if $(SAN),,-Wl,-z,defs) \
		$(LDFLAGS) -o $@ $(LIB_OBJ) $(LDLIBS)

# A file sees include/ and its own folder: that is the module boundary (-I. is for
# CROSSING). Tests see what they test.
$(O)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) -I. -Iinclude -I$(<D) $(EXTRA) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(O)/net/%.o: EXTRA = $(call pkg,--cflags libpcap)
$(O)/cuse/%.o: EXTRA = $(call pkg,--cflags fuse3) -DUVHOST_VERSION='"$(VERSION)"' \
	-DUVHOST_LIBEXECDIR='"$(LIBEXECDIR)"'
# Names this build: worker processes of another one are replaced at a restart.
BUILD_OF := $(sort $(wildcard cuse/*.[ch] include/*.h net/*.[ch] net/*/*.[ch] vhost/*/*.[ch]))
$(O)/cuse/wmsg.o: $(BUILD_OF)
$(O)/cuse/wmsg.o: CPPFLAGS += \
	-DUVHOST_BUILD='"$(VERSION)-$(shell cat $(BUILD_OF) | sha256sum | cut -c 1-16)"'
$(O)/tests/%.o: EXTRA = -Itests/support $(addprefix -I,$(FLOORS))

# Of whatever has been compiled.
-include $(wildcard $(O)/*/*.d $(O)/*/*/*.d $(O)/*/*/*/*.d)

# ---- tests ----

# Lists of tests, how they are built and run: check, bench, fuzz, flows.
include tests/tests.mk

# Debian packages: tests/packages has the list.
deps:
	@tests/deps.sh build need want

lint-deps:
	@tests/deps.sh lint

# pkg-config is asked before the packages are there: hence a second make.
demo: deps
	@$(MAKE) --no-print-directory all $(O)/tests/cusehost
	@BUILD=$(O) tests/system/demo.sh

# ---- care of the source ----

# What the compiler says of all files, which takes neither objects nor programs.
warnings:
	@$(MAKE) --no-print-directory CFLAGS=-fsyntax-only LINKER=true LD=true \
		OBJCOPY=true AR=true tests

FUSE_SYSTEM = $(patsubst -I%,-isystem%,$(call pkg,--cflags fuse3))
C_FILES = $(shell git ls-files '*.c' '*.h')
PRODUCT_FILES = $(filter-out tests/%,$(C_FILES))

format:
	clang-format-19 -i $(C_FILES)

format-check:
	@clang-format-19 --dry-run --Werror $(C_FILES)

tidy:
	@printf '%s\n' $(sort $(NET_SRC) $(VHOST_SRC) $(FE_SRC) $(CUSE_SRC) \
		$(WORKER_SRC) $(KEEPER_SRC)) | \
		xargs -P "$$(nproc)" -I '{}' clang-tidy-19 --quiet '{}' -- -std=gnu11 \
		-D_GNU_SOURCE -I. -Iinclude $(addprefix -I,$(FLOORS)) \
		-DUVHOST_VERSION='""' -DUVHOST_BUILD='""' -DUVHOST_LIBEXECDIR='""' \
		$(FUSE_SYSTEM)

shellcheck:
	shellcheck -x -P tests/system -S warning -e SC2034,SC2154 .ci/run tests/run.sh \
		tests/deps.sh tests/names-check.sh tests/readme-names.sh tests/system/*.sh tests/bench/*.sh tests/wire/*.sh

# Each header compiles alone, and none is seen from a floor where it should not be.
headers-check:
	@for h in $(filter %.h,$(PRODUCT_FILES)); do \
		$(CC) $(filter-out -MMD -MP,$(COMMON)) -fsyntax-only -I. -Iinclude \
			-I$$(dirname $$h) $(FUSE_SYSTEM) -x c $$h || exit 1; done
	@tests/floors-check.sh "$(FLOORS)" "$(CROSSING)" $(PRODUCT_FILES)

# No function and no struct of the product has the name of another one.
names-check:
	@tests/names-check.sh $(PRODUCT_FILES)

protocol-table: $(O)/uvhostd
	@$(O)/uvhostd --print-ioctl-table
	@$(O)/uvhostd --print-message-table

readme-check: $(O)/uvhostd
	@sed -n '/protocol-table: begin/,/protocol-table: end/{//!p}' README.md | \
		diff - <($(O)/uvhostd --print-ioctl-table)
	@sed -n '/message-table: begin/,/message-table: end/{//!p}' README.md | \
		diff - <($(O)/uvhostd --print-message-table)
	@tests/readme-names.sh README.md

# ---- installation ----

# MODE:FILE:PLACE. What is not built has its paths filled in.
INSTALLED := 755:$(O)/uvhostd:$(SBINDIR)/uvhostd \
	755:$(O)/uvhost-keeper:$(SBINDIR)/uvhost-keeper \
	711:$(O)/uvhost-worker:$(LIBEXECDIR)/uvhost/uvhost-worker \
	$(foreach m,uvhostd.8 uvhost-keeper.8 uvhost-worker.8,644:cuse/$m:$(MANDIR)/man8/$m) \
	644:udev/60-uvhostd.rules:$(UDEVDIR)/60-uvhostd.rules \
	644:udev/uvhostd.modules-load.conf:$(MODLOADDIR)/uvhostd.conf \
	644:udev/50-uvhostd.json:$(VUSERDIR)/50-uvhostd.json \
	644:udev/uvhostd.service:$(UNITDIR)/uvhostd.service \
	644:include/uvhost/frontend.h:$(INCLUDEDIR)/uvhost/frontend.h \
	644:$(LIB_STATIC):$(LIBDIR)/libuvhost.a \
	644:$(LIB_SHARED):$(LIBDIR)/$(notdir $(LIB_SHARED)) \
	644:vhost/frontend/libuvhost.3:$(MANDIR)/man3/libuvhost.3 \
	644:vhost/frontend/uvhost.pc.in:$(PKGCONFIGDIR)/uvhost.pc
FILL := s,/usr/local/sbin,$(SBINDIR),; s,/usr/local/libexec,$(LIBEXECDIR),; \
	s,/usr/local/lib/udev/rules.d,$(UDEVDIR),; s,@PREFIX@,$(PREFIX),; \
	s,@LIBDIR@,$(LIBDIR),; s,@INCLUDEDIR@,$(INCLUDEDIR),; s,@VERSION@,$(VERSION),

install: all
	@for i in $(INSTALLED); do \
		IFS=: read -r mode file place <<<"$$i"; \
		install -D -m $$mode "$$file" "$(DESTDIR)$$place" || exit 1; \
		[[ $$file == $(O)/* ]] || sed -i '$(FILL)' "$(DESTDIR)$$place" || exit 1; \
	done
	ln -sf $(notdir $(LIB_SHARED)) $(DESTDIR)$(LIBDIR)/libuvhost.so

uninstall:
	rm -f $(foreach i,$(INSTALLED),$(DESTDIR)$(lastword $(subst :, ,$i))) \
		$(DESTDIR)$(LIBDIR)/libuvhost.so

clean:
	rm -rf $(O)

help:
	@echo 'all (default)  build/uvhostd, lib'
	@echo 'lib            build/libuvhost.a, .so.0: <uvhost/frontend.h>'
	@echo 'deps           install the Debian packages that are missing'
	@echo 'demo           a Linux guest talks through /dev/uvhost-net'
	@echo 'check          all tests of this machine; check-asan, check-tsan'
	@echo 'check-vm       the tests on /dev/cuse, installed kernels (6.1, 6.12)'
	@echo 'check-debian12 demo and check in a fresh Debian 12; check-debian13'
	@echo 'check-libfuse  the device'\''s suites with LIBFUSE="$(LIBFUSE)"'
	@echo 'flows          App1 over e1000, virtio, vhost-net, CUSE, vhost-user: numbers'
	@echo 'flows-vm       the same beside the kernel, installed kernels'
	@echo 'fuzz           FUZZ_RUNS=$(FUZZ_RUNS) of each target, clang and ASan+UBSan'
	@echo 'bench          numbers beside peers and limits: build/bench.json, .svg;'
	@echo '               SCENARIO="PATTERN..." LIST=1; BASE=REV: beside that commit'
	@echo 'bench-vm       the same beside vhost-net and QEMU: build/bench-vm-6.12.json'
	@echo 'install        PREFIX=$(PREFIX) DESTDIR=$(DESTDIR); uninstall'
	@echo 'warnings       all files through the compiler, for its warnings (CC=clang)'
	@echo 'format format-check tidy headers-check names-check protocol-table clean'

.PHONY: programs lib warnings fuzz fuzz-search all tests deps lint-deps demo shellcheck check check-asan check-tsan check-vm check-libfuse \
	check-debian12 check-debian13 flows flows-vm bench bench-vm format \
	format-check tidy headers-check names-check protocol-table readme-check \
	install uninstall clean help
.PRECIOUS: $(O)/%.o $(O)/lib/%.o
