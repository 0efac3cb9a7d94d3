# SPDX-License-Identifier: BSD-3-Clause
# make help        what there is to make
# V=1              show the commands        SAN=address,undefined  sanitizers
# WERROR=1         warnings are errors      O=DIR                  build folder

SHELL   := /bin/bash
CC      ?= cc
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
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

VERSION := 0.1.0
comma   := ,
O       ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
CFLAGS  ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wvla -Wundef -Wformat=2 -Wpointer-arith \
	-Wstrict-prototypes -Wmissing-prototypes -Wimplicit-fallthrough \
	$(if $(findstring clang,$(CC)),-Wthread-safety)
COMMON := -std=gnu11 -D_GNU_SOURCE -MMD -MP -pthread $(WARN) \
	$(if $(WERROR),-Werror) $(if $(SAN),-fsanitize=$(SAN) \
	-fno-sanitize-recover=all -fno-omit-frame-pointer) \
	$(if $(findstring thread,$(SAN)),-Wno-tsan) \
	$(if $(FUZZING),-fsanitize=fuzzer-no-link)
LINK := -pthread $(if $(SAN),-fsanitize=$(SAN))
Q    := $(if $(filter 1,$(V)),,@)
say   = $(if $(Q),@printf '  %-7s %s\n' $(1) $(2))
pkg   = $(shell $(PKG_CONFIG) $(1) 2>/dev/null)

# ---- sources ----

# Used by every folder: log, rate limits, parser, event loop, worker, listener.
NET_BASE_SRC := net/base/log.c net/base/log_limit.c net/base/ratelimit.c \
	net/base/parse.c net/base/loop.c net/base/worker.c \
	net/base/unixsock.c
NET_SRC   := $(NET_BASE_SRC) \
	net/port.c net/tap.c net/packet.c net/null.c net/loop.c \
	net/source.c net/source_tap.c net/source_macvtap.c net/source_packet.c \
	net/source_pcap.c net/source_pcapfile.c net/pcap_player.c \
	net/source_qemu.c net/qemu_dgram.c net/qemu_stream.c net/framestream.c \
	net/netaddr.c net/source_gen.c net/gen.c \
	net/source_null.c \
	net/offload.c net/segment.c net/checksum.c \
	net/pcapng.c net/capture_out.c net/capture_file.c net/capture.c \
	net/mactable.c net/network.c net/member.c net/queue.c net/receiver.c \
	net/sink.c net/forward.c net/deliver.c \
	net/slot.c net/slot_out.c net/inbox.c net/patch.c net/attach.c
# Ports by name are the daemon's affair; the library does without libpcap.
NET_LIB_SRC := $(filter-out net/source% net/pcap_% net/patch.c net/attach.c,$(NET_SRC))
VHOST_SRC := vhost/aspace.c vhost/rangemap.c vhost/iotlb.c vhost/dirtylog.c \
	vhost/memview.c vhost/virtq.c vhost/virtq_split.c vhost/virtq_packed.c \
	vhost/virtio_net.c vhost/vdev.c vhost/vdev_mem.c vhost/vdev_queue.c \
	vhost/vdev_backend.c vhost/vdev_print.c \
	vhost/vu_msg.c vhost/vu_session.c vhost/vu_dispatch.c vhost/vu_table.c \
	vhost/vu_pair.c vhost/vu_report.c vhost/vu_device.c \
	vhost/vu_ring.c vhost/vu_mem.c vhost/vu_channel.c vhost/vu_inflight.c \
	vhost/vu_migrate.c vhost/inflight.c
FE_SRC    := vhost/fe.c vhost/fe_base.c vhost/fe_kernel.c vhost/fe_vdpa.c \
	vhost/fe_user.c vhost/fe_user_msg.c vhost/fe_user_events.c \
	vhost/fe_user_migrate.c \
	vhost/fe_user_connect.c vhost/fe_inproc.c
# The library: frontends, and what they need of the device.
LIB_SRC   := $(FE_SRC) $(NET_LIB_SRC) $(filter-out vhost/vu_%,$(VHOST_SRC)) \
	vhost/vu_msg.c
CUSE_SRC  := cuse/main.c cuse/options.c cuse/keys.c cuse/items.c cuse/config.c \
	cuse/server.c cuse/watchdog.c cuse/quota.c cuse/closer.c \
	cuse/chardev.c cuse/channel.c cuse/session.c cuse/ioctl.c cuse/peer.c cuse/peermaps.c \
	cuse/peeruser.c \
	cuse/vmas.c cuse/node.c cuse/takeover.c cuse/confine.c cuse/notify.c \
	cuse/procfile.c cuse/vusock.c cuse/nets.c
HOST_SRC  := tests/support/cusehost.c tests/support/cusehost_call.c \
	tests/support/cusehost_dev.c tests/support/cusehost_peer.c \
	tests/support/cusehost_trap.c
VMM_SRC   := tests/support/vmm.c tests/support/vmm_user.c \
	tests/support/vmm_vdpa.c \
	tests/support/vmm_net.c tests/support/ring.c \
	tests/support/ring_packed.c
CONF_SRC  := tests/conformance/conf.c tests/conformance/caller.c \
	tests/conformance/fixture.c tests/conformance/rig.c
# Unit tests: of net/ with everything as it is; of vhost/ with a port of the
# tests' own (sockport.c) and the worker run inline (inline_worker.c).
UNIT_NET   := log port tap packet nullport source options keys config attach vmas \
	offload pcapng pcap capture mactable qemuport packetsource gen \
	offload_kernel checksum ratelimit parse limit quota
UNIT_VHOST := aspace rangemap memview dirtylog virtq packed netdev netpacked \
	iotlb vdev listener inflight
# Networks: stations of netfix.c.
UNIT_NETWORK := network patch netvlan netwire
# vhost-user, with real threads: a session and a frontend played by hand.
UNIT_VU    := vu_msg vu_backend vu_states vu_inflight
# The character device, with libfuse; the test plays the kernel.
UNIT_CUSE  := channel
# Statistics of the bench.
UNIT_BENCH := benchstats
# The frontend library.
UNIT_FE    := fe fe_user fe_inproc
WIRE       := vu_wire captured captured_fe
CONF      := ioctl calls owner handover chardev iotlb ring packed tx rx faults notify \
	memory
# Of these, the ones that go through any transport of the library.
CONF_ANY  := iotlb ring packed tx rx faults notify memory
# Where packets go, with guest addresses only in vhost-user's messages.
CONF_GPA  := ring packed tx rx faults memory
FUZZ      := dirtylog memview virtq packed ioctl vu config mactable source \
	framestream offload pcap network
FUZZ_SRC  := tests/fuzz/fuzzport.c
# Two devices with one driver: split and packed rings.
FUZZ_ARENA := tests/fuzz/fuzzarena.c

objs = $(patsubst %.c,$(O)/%.o,$(1))
CORE := $(call objs,$(NET_SRC) $(VHOST_SRC))
FE   := $(call objs,$(FE_SRC))
VMM  := $(call objs,$(VMM_SRC)) $(FE) $(CORE)
SOCKPORT := $(filter-out %/port.o,$(CORE)) $(O)/tests/unit/sockport.o
INLINE := $(filter-out %/worker.o,$(SOCKPORT)) $(O)/tests/unit/inline_worker.o
TEST_WORKER := $(O)/tests/unit/test_worker
UNIT_NET_BIN := $(UNIT_NET:%=$(O)/tests/unit/test_%)
UNIT_NETWORK_BIN := $(UNIT_NETWORK:%=$(O)/tests/unit/test_%)
UNIT_VHOST_BIN := $(UNIT_VHOST:%=$(O)/tests/unit/test_%)
UNIT_VU_BIN := $(UNIT_VU:%=$(O)/tests/unit/test_%)
UNIT_FE_BIN := $(UNIT_FE:%=$(O)/tests/unit/test_%)
UNIT_CUSE_BIN := $(UNIT_CUSE:%=$(O)/tests/unit/test_%)
UNIT_BENCH_BIN := $(UNIT_BENCH:%=$(O)/tests/unit/test_%)
WIRE_BIN := $(WIRE:%=$(O)/tests/wire/test_%)
UNIT_BIN := $(UNIT_NET_BIN) $(UNIT_VHOST_BIN) $(TEST_WORKER) $(UNIT_VU_BIN) \
	$(UNIT_FE_BIN) $(UNIT_NETWORK_BIN) $(UNIT_CUSE_BIN) $(UNIT_BENCH_BIN)
CONF_BIN := $(CONF:%=$(O)/tests/conformance/test_%)
FUZZ_BIN := $(FUZZ:%=$(O)/tests/fuzz/replay_%)
TEST_BIN := $(O)/tests/vduse-net $(O)/tests/vdpa-client $(O)/tests/vu-peer \
	$(O)/tests/set-channels $(O)/tests/app1 \
	$(O)/tests/cusehost $(O)/tests/with-taps $(O)/tests/notify-listen \
	$(O)/tests/vu-record \
	$(O)/tests/bridge-guest \
	$(O)/tests/tcp-blob \
	$(O)/tests/storm \
	$(O)/tests/uvbench \
	$(O)/tests/backend-swap $(O)/tests/broken-neighbour $(O)/tests/inflight \
	$(O)/tests/hostile-peers $(O)/tests/net $(O)/tests/stuck-sessions $(O)/tests/quotas \
	$(O)/tests/stuck-close.so \
	$(O)/tests/socket-rights $(UNIT_BIN) $(WIRE_BIN) $(CONF_BIN) $(FUZZ_BIN)

LIB_STATIC := $(O)/libuvhost.a
LIB_SHARED := $(O)/libuvhost.so.0

all: $(O)/uvhostd lib

lib: $(LIB_STATIC) $(LIB_SHARED)

tests: all $(TEST_BIN)

# ---- programs ----

define link
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(LINK) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS) $(PCAP) $(LDLIBS)
endef

# What names ports needs it.
PCAP = $(if $(filter %/source_pcap.o,$^),$(call pkg,--libs libpcap))

$(O)/uvhostd: LIBS = $(call pkg,--libs fuse3 inih)
$(O)/uvhostd: $(call objs,$(CUSE_SRC)) $(CORE)
	$(link)

# What is not uvh_* is nobody's business: not in the shared library (version
# script), nor in the static one, which is one object with the rest made local.
LIB_OBJ := $(LIB_SRC:%.c=$(O)/lib/%.o)
$(O)/lib/%.o: %.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) -fPIC -fvisibility=hidden -DLOG_SILENT -Iinclude \
		-I$(<D) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(LIB_STATIC): $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)$(LD) -r -o $(O)/lib/uvhost.o $^
	$(Q)$(OBJCOPY) --localize-hidden $(O)/lib/uvhost.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(O)/lib/uvhost.o

$(LIB_SHARED): $(LIB_OBJ) vhost/libuvhost.map
	$(call say,LD,$@)
	$(Q)$(CC) $(LINK) -shared -Wl,-soname,$(@F) \
		-Wl,--version-script=vhost/libuvhost.map $(if $(SAN),,-Wl,-z,defs) \
		$(LDFLAGS) -o $@ $(LIB_OBJ) $(LDLIBS)

$(O)/tests/cusehost: $(call objs,$(HOST_SRC))
	$(link)

BENCH_SRC := $(addprefix tests/bench/,main.c engine.c side.c agent.c \
	agent_proc.c stats.c report.c svg.c machine.c lists.c \
	guest.c dpdk.c bareguest.c hops.c ringfeed.c taps.c threads.c wire.c) \
	$(sort $(wildcard tests/bench/sc_*.c))
$(O)/tests/uvbench: LIBS = $(call pkg,--libs jansson) -lm
$(O)/tests/uvbench: $(call objs,$(BENCH_SRC) tests/support/netframe.c) $(VMM)
	$(link)

$(O)/tests/with-taps: $(call objs,tests/support/with-taps.c)
	$(link)

$(O)/tests/bridge-guest: $(call objs,tests/support/bridge-guest.c) $(VMM)
	$(link)

$(O)/tests/storm: $(call objs,tests/support/storm.c tests/support/vmm_net.c)
	$(link)

$(O)/tests/tcp-blob: $(call objs,tests/support/tcp-blob.c)
	$(link)

$(O)/tests/vduse-net: $(call objs,tests/support/vduse-net.c) $(FE) $(CORE)
	$(link)

$(O)/tests/vu-peer $(O)/tests/inflight $(O)/tests/stuck-sessions \
		$(O)/tests/socket-rights $(O)/tests/quotas: $(O)/tests/%: \
		$(O)/tests/system/%.o $(VMM)
	$(link)

# Go into guests: need nothing but the kernel, and no sanitizer.
$(O)/tests/set-channels $(O)/tests/app1: $(O)/tests/%: tests/support/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 -static -o $@ $<

# Preloaded; no sanitizer.
$(O)/tests/stuck-close.so: tests/support/stuck-close.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 -shared -fPIC -o $@ $<

$(O)/tests/vdpa-client: LIBS = $(call pkg,--libs cmocka)
$(O)/tests/vdpa-client: $(call objs,tests/system/vdpa-client.c) $(VMM)
	$(link)

$(O)/tests/notify-listen: $(call objs,tests/support/notify-listen.c)
	$(link)

$(O)/tests/vu-record: $(call objs,tests/wire/vu-record.c)
	$(link)

$(O)/tests/backend-swap $(O)/tests/broken-neighbour $(O)/tests/net \
		$(O)/tests/hostile-peers: $(O)/tests/%: \
		$(O)/tests/system/%.o $(O)/tests/support/flow.o $(VMM)
	$(link)

$(filter-out %_inproc,$(UNIT_FE_BIN)): $(O)/tests/unit/%: \
		$(O)/tests/unit/%.o $(VMM)
	$(link)

# A device of this process, whose ports are sockets of the test.
$(O)/tests/unit/test_fe_inproc: $(O)/tests/unit/test_fe_inproc.o $(FE) \
		$(SOCKPORT) $(filter %/ring.o %/ring_packed.o,$(VMM))
	$(link)

$(O)/tests/unit/test_fe.o: CPPFLAGS += \
	-DFRONTEND_H='"$(CURDIR)/include/uvhost/frontend.h"'

$(UNIT_BIN) $(CONF_BIN) $(WIRE_BIN): LIBS = $(call pkg,--libs cmocka)
$(UNIT_NET_BIN): $(O)/tests/unit/%: $(O)/tests/unit/%.o $(CORE)
	$(link)

$(UNIT_NETWORK_BIN): $(O)/tests/unit/%: $(O)/tests/unit/%.o \
		$(O)/tests/unit/netfix.o $(O)/tests/support/netframe.o \
		$(SOCKPORT)
	$(link)

$(O)/tests/unit/test_source $(O)/tests/unit/test_qemuport \
		$(O)/tests/unit/test_packetsource: $(VMM)
CUSE_OPTIONS := $(call objs,cuse/options.c cuse/keys.c cuse/items.c cuse/config.c)
$(O)/tests/unit/test_attach: $(call objs,cuse/nets.c) $(VMM)
$(O)/tests/unit/test_vmas: $(call objs,cuse/vmas.c)
$(O)/tests/unit/test_quota: $(call objs,cuse/quota.c)
$(O)/tests/unit/test_options $(O)/tests/unit/test_config \
		$(O)/tests/unit/test_attach $(O)/tests/unit/test_keys: LIBS += $(call pkg,--libs inih)
$(O)/tests/unit/test_options $(O)/tests/unit/test_config \
		$(O)/tests/unit/test_attach $(O)/tests/unit/test_keys: $(CUSE_OPTIONS)
$(O)/tests/unit/test_channel.o: CPPFLAGS += $(FUSE_SYSTEM)
$(O)/tests/unit/test_keys.o: CPPFLAGS += \
	-DMANUAL='"$(CURDIR)/cuse/uvhostd.8"'
$(foreach t,offload checksum offload_kernel,$(O)/tests/unit/test_$(t)): \
		$(O)/tests/support/netframe.o
$(O)/tests/unit/test_offload: $(O)/tests/unit/gsofix.o
$(O)/tests/unit/test_offload_kernel: $(VMM) $(O)/tests/support/netframe_any.o

$(UNIT_VHOST_BIN): $(O)/tests/unit/%: $(O)/tests/unit/%.o \
		$(O)/tests/unit/drv.o $(O)/tests/unit/pdrv.o \
		$(O)/tests/unit/devfix.o $(INLINE)
	$(link)

$(O)/tests/unit/test_virtq $(O)/tests/unit/test_packed: \
		$(O)/tests/unit/vqfix.o

# Everything of the daemon but main().
$(UNIT_CUSE_BIN): LIBS = -Wl,--wrap=fuse_session_mount \
	$(call pkg,--libs cmocka fuse3 inih)
$(UNIT_CUSE_BIN): $(O)/tests/unit/%: $(O)/tests/unit/%.o \
		$(call objs,$(filter-out cuse/main.c,$(CUSE_SRC))) $(CORE)
	$(link)

$(O)/tests/unit/test_benchstats.o: CPPFLAGS += -Itests/bench
$(UNIT_BENCH_BIN): LIBS += -lm
$(UNIT_BENCH_BIN): $(O)/tests/unit/%: $(O)/tests/unit/%.o \
		$(O)/tests/bench/stats.o
	$(link)

$(O)/tests/unit/test_limit: LIBS += -Wl,--wrap=clock_gettime

# It counts what is closed.
$(O)/tests/unit/test_vdev: LIBS += -Wl,--wrap=close

$(TEST_WORKER): $(O)/tests/unit/test_worker.o $(O)/tests/unit/drv.o $(SOCKPORT)
	$(link)

$(UNIT_VU_BIN) $(filter-out %_fe,$(WIRE_BIN)): $(O)/tests/%: $(O)/tests/%.o \
		$(O)/tests/unit/vufix.o $(O)/tests/unit/drv.o \
		$(O)/tests/unit/pdrv.o $(SOCKPORT)
	$(link)

# Bytes that other programs sent: tests/wire/record.sh.
$(O)/tests/wire/%.o: CPPFLAGS += -DCAPTURED='"$(CURDIR)/tests/wire/captured/"'
$(O)/tests/wire/test_captured: $(O)/tests/wire/captured.o
$(O)/tests/wire/test_captured_fe: $(O)/tests/wire/test_captured_fe.o \
		$(O)/tests/wire/captured.o $(VMM)
	$(link)

# The same targets: replay_X goes through the corpus, fuzz_X searches (make
# fuzz).
FUZZED := $(call objs,$(FUZZ_SRC) cuse/ioctl.c) \
	$(filter-out %/sockport.o,$(INLINE))
$(FUZZ_BIN): $(O)/tests/fuzz/replay_%: $(O)/tests/fuzz/fuzz_%.o \
		$(O)/tests/fuzz/replay.o $(FUZZED)
	$(link)

$(O)/tests/fuzz/replay_offload $(O)/tests/fuzz/fuzz_offload: \
		$(O)/tests/support/netframe.o
$(O)/tests/fuzz/replay_network $(O)/tests/fuzz/fuzz_network: \
		$(O)/tests/support/netframe.o $(O)/tests/fuzz/netmodel.o \
		$(O)/tests/fuzz/guardmap.o

# There is no number to be guessed in the table or in a model, and with UBSan's
# checks traced the search is much slower.
ifneq ($(FUZZING),)
$(O)/net/mactable.o $(O)/tests/fuzz/fuzz_mactable.o \
		$(O)/tests/fuzz/fuzz_network.o $(O)/tests/fuzz/netmodel.o: \
		CPPFLAGS += -fno-sanitize-coverage=trace-cmp
endif

FUZZ_SEARCH := $(FUZZ:%=$(O)/tests/fuzz/fuzz_%)
$(FUZZ_SEARCH): LIBS = -fsanitize=fuzzer
$(FUZZ_SEARCH): %: %.o $(FUZZED)
	$(link)

$(O)/tests/fuzz/replay_config $(O)/tests/fuzz/fuzz_config: \
	LIBS += $(call pkg,--libs inih)
$(O)/tests/fuzz/replay_config $(O)/tests/fuzz/fuzz_config: $(CUSE_OPTIONS)
$(O)/tests/fuzz/replay_network $(O)/tests/fuzz/fuzz_network: \
		LIBS += -Wl,--wrap=mmap,--wrap=munmap

$(foreach t,virtq packed,$(O)/tests/fuzz/replay_$(t) \
		$(O)/tests/fuzz/fuzz_$(t)): $(call objs,$(FUZZ_ARENA))

$(CONF_BIN): $(O)/tests/conformance/%: $(O)/tests/conformance/%.o \
		$(call objs,$(CONF_SRC)) $(VMM)
	$(link)

# A file sees include/ and its own folder: that is the module boundary. Tests
# see what they test.
$(O)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(COMMON) -Iinclude -I$(<D) $(EXTRA) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(O)/net/%.o: EXTRA = $(call pkg,--cflags libpcap)
$(O)/cuse/%.o: EXTRA = $(call pkg,--cflags fuse3) -DUVHOST_VERSION='"$(VERSION)"'
$(O)/tests/%.o: EXTRA = -Itests/support -Itests/unit -Ivhost -Inet -Icuse

# Of whatever has been compiled.
-include $(wildcard $(O)/*/*.d $(O)/*/*/*.d $(O)/*/*/*/*.d)

# ---- tests ----

# Debian packages: tests/packages has the list.
deps:
	@tests/deps.sh need want

lint-deps:
	@tests/deps.sh lint

# pkg-config is asked before the packages are there: hence a second make.
demo: deps
	@$(MAKE) --no-print-directory all $(O)/tests/cusehost
	@BUILD=$(O) tests/system/demo.sh

WRAP = $(O)/tests/cusehost --trap-io --devices 2 $(O)/uvhostd \
	--device uvhost-net --device uvhost-packed,features=+packed+in_order --
CHECKS = $(UNIT_BIN:%=tap:%) $(WIRE_BIN:%=tap:%) $(FUZZ_BIN:%=tap:%) $(CONF_BIN:%=dev:%) \
	$(foreach t,user inproc,$(CONF_ANY:%=$(t):$(O)/tests/conformance/test_%)) \
	$(CONF_GPA:%=gpa:$(O)/tests/conformance/test_%)
# Under sanitizers only what drives the daemon in ways of its own.
SYSTEM = sh:tests/system/signals.sh sh:tests/system/takeover.sh sh:tests/system/no-descriptors.sh \
	sh:tests/system/backend-swap.sh \
	"sh:tests/system/broken-neighbour.sh harness" \
	sh:tests/system/inflight.sh sh:tests/system/hostile-peers.sh \
	sh:tests/system/socket-rights.sh \
	sh:tests/system/stuck-sessions.sh sh:tests/system/quotas.sh \
	"sh:tests/system/net.sh options" "sh:tests/system/net.sh config" \
	"sh:tests/system/qemu-guest.sh vhostfd private" \
	"sh:tests/system/qemu-guest.sh vhostfd memfd" \
	"sh:tests/system/qemu-guest.sh vhostfd private packed=on" \
	"sh:tests/system/vhost-user.sh plain" \
	"sh:tests/system/vhost-user.sh queues" \
	"sh:tests/system/matrix.sh harness" \
	"sh:tests/system/storm.sh 10" \
	"sh:tests/system/migrate.sh vhostfd private" \
	"sh:tests/system/migrate.sh vhost-user memfd"
ifeq ($(SAN),)
CHECKS += "tap:$(O)/tests/uvbench --smoke"
SYSTEM += sh:tests/system/selftest.sh sh:tests/system/stuck-close.sh sh:tests/system/space.sh sh:tests/system/install.sh sh:tests/system/rights.sh sh:tests/system/example.sh sh:tests/system/idle.sh \
	"sh:tests/system/broken-neighbour.sh qemu" \
	"sh:tests/system/qemu-guest.sh vhostfd hugetlb" \
	"sh:tests/system/qemu-guest.sh vhostfd memfd packed=on" \
	"sh:tests/system/qemu-guest.sh vhostfds private" \
	"sh:tests/system/qemu-guest.sh network private" \
	"sh:tests/system/qemu-guest.sh vhost=on private" \
	"sh:tests/system/vhost-user.sh client" \
	"sh:tests/system/vhost-user.sh hugetlb" \
	"sh:tests/system/vhost-user.sh packed" \
	"sh:tests/system/vhost-user.sh restart" \
	"sh:tests/system/vhost-user.sh network" \
	"sh:tests/system/vhost-user.sh fewer" \
	"sh:tests/system/migrate.sh vhostfd memfd" \
	"sh:tests/system/migrate.sh vhost-user memfd postcopy" \
	"sh:tests/system/ipxe.sh vhost-user" \
	"sh:tests/system/ipxe.sh vhostfd disable-modern=on" \
	"sh:tests/system/two-hosts.sh linux" \
	"sh:tests/system/two-hosts.sh ovs" \
	sh:tests/system/testpmd.sh "sh:tests/system/peers.sh dpdk" \
	"sh:tests/system/peers.sh qemu" \
	sh:tests/system/kill-qemu.sh
endif

check: deps
	@$(MAKE) --no-print-directory tests
	@BUILD=$(O) UVHOST_WRAP="$(WRAP)" UVHOST_DEV_PACKED=/dev/uvhost-packed \
		tests/run.sh $(CHECKS) $(SYSTEM)

# SCENARIO="PATTERN..." LIST=1 BASE=REV: see tests/bench/main.c
BENCH = $(O)/tests/uvbench --json $(O)/bench.json --svg $(O)/bench.svg
BENCH_BASE = base=$$(BUILD=$(O) CC='$(CC)' CFLAGS='$(CFLAGS)' \
	tests/bench/base.sh '$(BASE)') && $(BENCH) --base "$${base%%[[:space:]]*}" \
	--base-name "base $${base\#\#*[[:space:]]}"

bench: deps
	@$(MAKE) --no-print-directory all $(O)/tests/cusehost $(O)/tests/uvbench
	@set -f; $(if $(LIST),$(O)/tests/uvbench --list,$(if \
		$(BASE),$(BENCH_BASE),$(BENCH))) $(SCENARIO)

check-vm: deps
	@$(MAKE) --no-print-directory tests
	@BUILD=$(O) tests/system/check-vm.sh

# README's two commands in fresh installations of both releases; by hand.
check-debian12:
	@BUILD=$(O) tests/system/debian.sh bookworm

check-debian13:
	@BUILD=$(O) tests/system/debian.sh trixie

# With the libfuse of other Debian suites: downloads them, installs nothing.
LIBFUSE ?= bookworm trixie forky
check-libfuse:
	@$(MAKE) --no-print-directory tests
	@BUILD=$(O) tests/system/libfuse.sh $(LIBFUSE)

# The five paths beside one another; $(O)/flows.svg is a picture of them.
flows: deps
	@$(MAKE) --no-print-directory all $(O)/tests/cusehost $(O)/tests/app1
	@BUILD=$(O) tests/system/flows.sh

# The same with the kernel's vhost-net and the real /dev/cuse: flows-6.12.svg
flows-vm: deps
	@$(MAKE) --no-print-directory all $(O)/tests/app1
	@BUILD=$(O) tests/system/flows-vm.sh

check-asan:
	@$(MAKE) --no-print-directory SAN=address,undefined check

check-tsan:
	@$(MAKE) --no-print-directory SAN=thread check

# Searches beside the corpus; what it finds stays in build-fuzz/found/NAME.
FUZZ_RUNS ?= 1000000

fuzz:
	@$(MAKE) --no-print-directory O=build-fuzz CC=clang FUZZING=1 \
		SAN=address,undefined fuzz-search

fuzz-search: $(FUZZ_SEARCH)
	@for f in $(FUZZ); do \
		echo "fuzz_$$f"; mkdir -p $(O)/found/$$f; \
		$(O)/tests/fuzz/fuzz_$$f -runs=$(FUZZ_RUNS) -max_len=600 \
			-print_final_stats=1 -artifact_prefix=$(O)/found/ \
			$(O)/found/$$f tests/fuzz/corpus/$$f 2>$(O)/fuzz_$$f.log; \
		status=$$?; grep -E 'stat::number_of|stat::average|ERROR|SUMMARY' \
			$(O)/fuzz_$$f.log; [ $$status = 0 ] || exit $$status; \
	done

# ---- care of the source ----

FUSE_SYSTEM = $(patsubst -I%,-isystem%,$(call pkg,--cflags fuse3))

C_FILES = $(shell git ls-files '*.c' '*.h')

format:
	clang-format-19 -i $(C_FILES)

format-check:
	@clang-format-19 --dry-run --Werror $(C_FILES)

tidy:
	@printf '%s\n' $(NET_SRC) $(VHOST_SRC) $(FE_SRC) $(CUSE_SRC) | \
		xargs -P "$$(nproc)" -I '{}' clang-tidy-19 --quiet '{}' -- -std=gnu11 \
		-D_GNU_SOURCE -Iinclude -Inet -Ivhost -Icuse \
		-DUVHOST_VERSION='""' $(FUSE_SYSTEM)

shellcheck:
	shellcheck -x -P tests/system -S warning -e SC2034,SC2154 .ci/run tests/run.sh \
		tests/deps.sh tests/names-check.sh tests/system/*.sh tests/bench/*.sh tests/wire/*.sh

headers-check:
	@for h in include/*.h include/uvhost/*.h vhost/*.h net/*.h \
		$(wildcard net/base/*.h) cuse/*.h; do \
		$(CC) $(filter-out -MMD -MP,$(COMMON)) -fsyntax-only -Iinclude \
			-Ivhost -Inet -Icuse $(FUSE_SYSTEM) -x c $$h || \
			exit 1; done

# No function and no struct of the product has the name of another one.
names-check:
	@tests/names-check.sh $(filter-out tests/%,$(C_FILES))

protocol-table: $(O)/uvhostd
	@$(O)/uvhostd --print-ioctl-table
	@$(O)/uvhostd --print-message-table

readme-check: $(O)/uvhostd
	@sed -n '/protocol-table: begin/,/protocol-table: end/{//!p}' README.md | \
		diff - <($(O)/uvhostd --print-ioctl-table)
	@sed -n '/message-table: begin/,/message-table: end/{//!p}' README.md | \
		diff - <($(O)/uvhostd --print-message-table)

# ---- installation ----

install: all
	install -D -m 755 $(O)/uvhostd $(DESTDIR)$(SBINDIR)/uvhostd
	mkdir -p $(DESTDIR)$(MANDIR)/man8
	sed 's,/usr/local/lib/udev/rules.d,$(UDEVDIR),' cuse/uvhostd.8 \
		>$(DESTDIR)$(MANDIR)/man8/uvhostd.8
	install -D -m 644 udev/60-uvhostd.rules $(DESTDIR)$(UDEVDIR)/60-uvhostd.rules
	install -D -m 644 udev/uvhostd.modules-load.conf \
		$(DESTDIR)$(MODLOADDIR)/uvhostd.conf
	mkdir -p $(DESTDIR)$(UNITDIR) $(DESTDIR)$(VUSERDIR)
	sed 's,/usr/local/sbin,$(SBINDIR),' udev/50-uvhostd.json \
		>$(DESTDIR)$(VUSERDIR)/50-uvhostd.json
	sed 's,/usr/local/sbin,$(SBINDIR),' udev/uvhostd.service \
		>$(DESTDIR)$(UNITDIR)/uvhostd.service
	install -D -m 644 include/uvhost/frontend.h \
		$(DESTDIR)$(INCLUDEDIR)/uvhost/frontend.h
	install -D -m 644 $(LIB_STATIC) $(DESTDIR)$(LIBDIR)/libuvhost.a
	install -D -m 644 $(LIB_SHARED) $(DESTDIR)$(LIBDIR)/$(notdir $(LIB_SHARED))
	ln -sf $(notdir $(LIB_SHARED)) $(DESTDIR)$(LIBDIR)/libuvhost.so
	install -D -m 644 vhost/libuvhost.3 $(DESTDIR)$(MANDIR)/man3/libuvhost.3
	mkdir -p $(DESTDIR)$(PKGCONFIGDIR)
	sed 's,@PREFIX@,$(PREFIX),; s,@LIBDIR@,$(LIBDIR),; s,@VERSION@,$(VERSION),; s,@INCLUDEDIR@,$(INCLUDEDIR),' \
		vhost/uvhost.pc.in >$(DESTDIR)$(PKGCONFIGDIR)/uvhost.pc

uninstall:
	rm -f $(DESTDIR)$(SBINDIR)/uvhostd $(DESTDIR)$(MANDIR)/man8/uvhostd.8 \
		$(DESTDIR)$(UDEVDIR)/60-uvhostd.rules \
		$(DESTDIR)$(MODLOADDIR)/uvhostd.conf \
		$(DESTDIR)$(VUSERDIR)/50-uvhostd.json \
		$(DESTDIR)$(UNITDIR)/uvhostd.service \
		$(DESTDIR)$(INCLUDEDIR)/uvhost/frontend.h \
		$(DESTDIR)$(LIBDIR)/libuvhost.a $(DESTDIR)$(LIBDIR)/libuvhost.so \
		$(DESTDIR)$(LIBDIR)/$(notdir $(LIB_SHARED)) \
		$(DESTDIR)$(MANDIR)/man3/libuvhost.3 \
		$(DESTDIR)$(PKGCONFIGDIR)/uvhost.pc

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
	@echo 'install        PREFIX=$(PREFIX) DESTDIR=$(DESTDIR); uninstall'
	@echo 'format format-check tidy headers-check names-check protocol-table clean'

.PHONY: lib fuzz fuzz-search all tests deps lint-deps demo shellcheck check check-asan check-tsan check-vm check-libfuse \
	check-debian12 check-debian13 flows flows-vm bench format \
	format-check tidy headers-check names-check protocol-table readme-check \
	install uninstall \
	clean help
.SECONDARY:
