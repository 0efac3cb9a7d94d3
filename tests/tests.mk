# SPDX-License-Identifier: BSD-3-Clause
#
# tests.mk has the lists of tests, what each is linked from, and what make check
# runs. Part of the Makefile.
#
# A new unit test is a name in one of the lists UNIT_*, which say what its program
# is linked with; a script in tests/system is an entry of SYSTEM.

# ---- sources, and names of tests ----

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

# ---- programs, all of which make tests builds ----

VMM  := $(call objs,$(VMM_SRC)) $(FE) $(CORE)
SOCKPORT := $(filter-out %/netport.o,$(CORE)) $(O)/tests/unit/sockport.o
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
	$(O)/tests/set-channels $(O)/tests/app1 $(O)/tests/bulk \
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

tests: all $(TEST_BIN)

# ---- what they are linked from ----

$(O)/tests/cusehost: $(call objs,$(HOST_SRC))
	$(link)

BENCH_SRC := $(addprefix tests/bench/,main.c engine.c side.c agent.c \
	agent_proc.c stats.c line.c report.c svg.c machine.c qtest.c qemunet.c vmtap.c vmdev.c \
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
$(O)/tests/set-channels $(O)/tests/app1 $(O)/tests/bulk: $(O)/tests/%: \
		tests/support/%.c
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
$(O)/net/switch/mactable.o $(O)/tests/fuzz/fuzz_mactable.o \
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

# ---- what make check runs ----

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
CHECKS += "tap:$(O)/tests/uvbench --smoke" \
	"tap:$(O)/tests/uvbench --suite vm --smoke vm/cost vm/qemu"
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

# ---- bench ----

# SCENARIO="PATTERN..." LIST=1 BASE=REV: see tests/bench/main.c
BENCH = $(O)/tests/uvbench --json $(O)/bench.json --svg $(O)/bench.svg
BENCH_BASE = base=$$(BUILD=$(O) CC='$(CC)' CFLAGS='$(CFLAGS)' \
	tests/bench/base.sh '$(BASE)') && $(BENCH) --base "$${base%%[[:space:]]*}" \
	--base-name "base $${base\#\#*[[:space:]]}"

bench: deps
	@$(MAKE) --no-print-directory all $(O)/tests/cusehost $(O)/tests/uvbench
	@set -f; $(if $(LIST),$(O)/tests/uvbench --list,$(if \
		$(BASE),$(BENCH_BASE),$(BENCH))) $(SCENARIO)

# Beside the kernel's vhost-net and QEMU's virtio-net, in a machine with the real
# /dev/cuse. SCENARIO="PATTERN..."
bench-vm: deps
	@$(MAKE) --no-print-directory all $(O)/tests/uvbench $(O)/tests/bulk
	@set -f; BUILD=$(O) tests/bench/bench-vm.sh 6.12 $(SCENARIO)

# ---- fuzz ----

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
