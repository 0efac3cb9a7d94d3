# SPDX-License-Identifier: BSD-3-Clause
#
# tests.mk has the lists of tests, what each is linked from, and what make check,
# make bench and make fuzz run. Part of the Makefile; T is where programs go.
#
# A new unit test is a name in one of the lists UNIT_*, which say what its program
# is linked with; a script in tests/system is a line of SYSTEM_SCRIPTS.

T := $(O)/tests
support = $(patsubst %,$T/support/%.o,$(1))

# ---- what is linked into several ------------------------------------------

# A VMM, behind every transport.
VMM  := $(call support,vmm vmm_user vmm_vdpa vmm_net ring ring_packed) $(FE) $(CORE)
# The owner's memory and the driver of unit tests.
DRV  := $(call support,arena drv)
# The product with a port that is a socket of the test; without threads as well.
SOCKPORT := $(filter-out %/netport.o,$(CORE)) $(call support,sockport)
INLINE := $(filter-out %/worker.o,$(SOCKPORT)) $(call support,inline_worker)
CUSE_OPTIONS := $(call objs,cuse/options.c cuse/keys.c cuse/items.c cuse/config.c)
# The ioctls of the character device, without the caller.
IOCTLS := $(call objs,cuse/ioctl.c cuse/ioctl_table.c cuse/owner_maps.c)
# The device half of an open file, and its messages to the broker.
WMSG := $(call objs,$(addprefix cuse/,wmsg.c wserve.c devlink_remote.c devlink_local.c \
	devsession.c devmem.c)) $(IOCTLS)
CMOCKA = $(call pkg,--libs cmocka)
INIH   = $(call pkg,--libs inih)

# ---- unit tests -----------------------------------------------------------

# net/ and what needs no device, with everything as it is
UNIT_NET   := log loop port tap packet nullport source options keys config attach vmas \
	offload pcapng pcap capture mactable qemuport packetsource gen framering \
	offload_kernel checksum ratelimit parse limit quota store keeper \
	bag record reach slots persist devmem resume wproc wdog wfilter wmain wvu wnet netproc owner_maps map_budget \
	taker
# the device, with INLINE
UNIT_VHOST := aspace rangemap memview dirtylog virtq virtq_split virtq_packed \
	virtio_net iotlb vdev listener inflight ioctl_table
# networks, with stations (netfix.h)
UNIT_NETWORK := network patch netvlan netwire
# vhost-user, with real threads: a session, and a frontend played by hand
UNIT_VU    := vu_msg vu_backend vu_states vu_inflight
# the frontend library
UNIT_FE    := fe fe_user fe_inproc
# the device session behind its links, with real threads
UNIT_LINK  := wmsg devlink
# the character device, with libfuse; the test plays the kernel
UNIT_CUSE  := channel
UNIT_ALL   := $(UNIT_NET) $(UNIT_VHOST) $(UNIT_NETWORK) $(UNIT_VU) $(UNIT_FE) \
	$(UNIT_LINK) $(UNIT_CUSE) worker benchstats peer

unit = $(patsubst %,$T/unit/test_%,$(1))
UNIT_BIN := $(call unit,$(UNIT_ALL))
$(UNIT_BIN): LIBS = $(CMOCKA)
$(UNIT_BIN): %: %.o
	$(link)

$(call unit,$(UNIT_NET)): $(CORE)
$(call unit,source qemuport packetsource): $(VMM)
$(call unit,offload checksum offload_kernel): $(call support,netframe)
$(call unit,offload): $(call support,gsofix)
$(call unit,offload_kernel): $(call support,netframe_any) $(VMM)
$(call unit,attach): $(call objs,$(addprefix cuse/,nets.c netproc.c netproc_told.c netmsg.c store.c \
	notify.c wproc.c spawner.c confine.c)) $(WMSG) $(VMM)
$(call unit,vmas): $(call objs,cuse/vmas.c)
$(call unit,quota): $(call objs,cuse/quota.c)
$(call unit,owner_maps map_budget): $(call objs,cuse/owner_maps.c cuse/map_budget.c)
$(call unit,owner_maps): $(call objs,cuse/peermaps.c cuse/peer.c cuse/vmas.c \
	cuse/procfile.c cuse/confine.c cuse/taker.c cuse/spawner.c) \
	$(call support,arena)
# the owner changes its mappings when one has been opened
$(call unit,owner_maps): LIBS += -Wl,--wrap=taker_take
$(call unit,store keeper persist): $(call objs,cuse/store.c cuse/notify.c)
$(call unit,bag persist): $(call objs,cuse/bag.c)
$(call unit,record reach persist): $(call objs,cuse/record.c)
$(call unit,reach): $(call objs,cuse/reach.c)
$(call unit,slots): $(call objs,cuse/slots.c)
$(call unit,wproc wmain wvu wnet netproc): $(call objs,cuse/wproc.c cuse/spawner.c cuse/confine.c)
$(call unit,wproc): LIBS += -Wl,--wrap=pidfd_open
$(call unit,netproc): $(call objs,$(addprefix cuse/,netproc.c netproc_told.c netmsg.c store.c notify.c)) $(WMSG)
# delays pass at once, and a signal is not sent
$(call unit,netproc): LIBS += -Wl,--wrap=timerfd_settime,--wrap=pidfd_send_signal
$(call unit,wdog): $(call objs,cuse/wdog.c)
$(call unit,wfilter): $(call objs,cuse/wfilter.c)
$(call unit,wfilter): LIBS += $(call pkg,--libs libseccomp)
$(call unit,persist): $(call objs,cuse/persist.c)
$(call unit,persist): LIBS += -Wl,--wrap=sendmsg
$(call unit,devmem persist): $(call objs,cuse/devmem.c)
# they run the programs
$(call unit,wnet): $(call objs,cuse/netmsg.c)
$(call unit,wmain wvu wnet): $(WMSG) | $(O)/uvhost-worker
$T/unit/test_wmain.o $T/unit/test_wvu.o $T/unit/test_wnet.o: CPPFLAGS += -DWORKER='"$(CURDIR)/$(O)/uvhost-worker"'
$(call unit,keeper): | $(O)/uvhost-keeper
$T/unit/test_keeper.o: CPPFLAGS += -DKEEPER='"$(CURDIR)/$(O)/uvhost-keeper"'
$(call unit,resume): | $(O)/uvhostd $(O)/uvhost-worker
$T/unit/test_resume.o: CPPFLAGS += -DDAEMON='"$(CURDIR)/$(O)/uvhostd"'
$(call unit,options config attach keys): $(CUSE_OPTIONS)
$(call unit,options config attach keys): LIBS += $(INIH)
$T/unit/test_keys.o: CPPFLAGS += -DMANUAL='"$(CURDIR)/cuse/uvhostd.8"'
$(call unit,limit): LIBS += -Wl,--wrap=clock_gettime

$(call unit,$(UNIT_VHOST)): $(DRV) $(call support,devfix) $(INLINE)
$(call unit,virtq virtq_split virtq_packed): $(call support,vqfix)
$(call unit,ioctl_table): $(IOCTLS)
# counts what is closed
$(call unit,vdev): LIBS += -Wl,--wrap=close

$(call unit,$(UNIT_NETWORK)): $(call support,netfix netframe) $(SOCKPORT)
$(call unit,$(UNIT_VU)): $(call support,vufix) $(DRV) $(SOCKPORT)
$(call unit,worker): $(DRV) $(SOCKPORT)
$(call unit,peer): $(call objs,cuse/peer.c cuse/procfile.c cuse/confine.c \
	cuse/taker.c cuse/spawner.c) $(INLINE) $(call support,arena deaf_file)
$(call unit,taker): $(call objs,cuse/taker.c cuse/spawner.c cuse/confine.c) \
	$(call support,deaf_file)
# the caller passes another file while it is taken
$(call unit,taker): LIBS += -Wl,--wrap=syscall

$(call unit,fe fe_user): $(VMM)
$(call unit,fe_inproc): $(call support,ring ring_packed) $(FE) $(SOCKPORT)
$T/unit/test_fe.o: CPPFLAGS += -DFRONTEND_H='"$(CURDIR)/include/uvhost/frontend.h"'

$(call unit,$(UNIT_LINK)): $(WMSG) $(DRV) $(SOCKPORT)
# to call what the server gives its device session
$(call unit,devlink): LIBS += -Wl,--wrap=devsession_new

# everything of the daemon but main()
$(call unit,$(UNIT_CUSE)): $(call objs,$(filter-out cuse/main.c,$(CUSE_SRC))) $(CORE)
$(call unit,$(UNIT_CUSE)): LIBS += -Wl,--wrap=fuse_session_mount \
	$(call pkg,--libs fuse3 inih)
$T/unit/test_channel.o: CPPFLAGS += $(FUSE_SYSTEM)

$(call unit,benchstats): $T/bench/stats.o
$(call unit,benchstats): LIBS += -lm
$T/unit/test_benchstats.o: CPPFLAGS += -Itests/bench

# ---- bytes on the wire: tests/wire/record.sh --------------------------------

WIRE_BIN := $(patsubst %,$T/wire/test_%,vu_wire captured captured_fe)
$(WIRE_BIN): LIBS = $(CMOCKA)
$(WIRE_BIN): %: %.o
	$(link)
$T/wire/test_vu_wire $T/wire/test_captured: $(call support,vufix) $(DRV) $(SOCKPORT)
$T/wire/test_captured_fe: $(VMM)
$T/wire/test_captured $T/wire/test_captured_fe: $T/wire/captured.o
$T/wire/%.o: CPPFLAGS += -DCAPTURED='"$(CURDIR)/tests/wire/captured/"'

# ---- conformance ----------------------------------------------------------

CONF     := ioctl calls owner handover chardev iotlb ring packed tx rx faults notify \
	memory
# of these, the ones that go through any transport of the library
CONF_ANY := iotlb ring packed tx rx faults notify memory
# where packets go, with guest addresses only in vhost-user's messages
CONF_GPA := ring packed tx rx faults memory

conf = $(patsubst %,$T/conformance/test_%,$(1))
CONF_BIN := $(call conf,$(CONF))
$(CONF_BIN): LIBS = $(CMOCKA)
$(CONF_BIN): %: %.o $(patsubst %,$T/conformance/%.o,conf caller fixture rig) $(VMM)
	$(link)

# ---- fuzz targets: replay_X goes through the corpus, fuzz_X searches ----------

FUZZ := dirtylog memview virtq packed ioctl vu config mactable source \
	framestream framering offload pcap network record wmsg
fuzz = $(foreach t,$(1),$T/fuzz/replay_$(t) $T/fuzz/fuzz_$(t))
FUZZED := $T/fuzz/fuzzport.o $(IOCTLS) \
	$(filter-out %/sockport.o,$(INLINE))
FUZZ_BIN    := $(FUZZ:%=$T/fuzz/replay_%)
FUZZ_SEARCH := $(FUZZ:%=$T/fuzz/fuzz_%)
$(FUZZ_BIN): $T/fuzz/replay_%: $T/fuzz/fuzz_%.o $T/fuzz/replay.o $(FUZZED)
	$(link)
$(FUZZ_SEARCH): LIBS = -fsanitize=fuzzer
$(FUZZ_SEARCH): %: %.o $(FUZZED)
	$(link)

# two devices with one driver: split and packed rings
$(call fuzz,virtq packed): $T/fuzz/fuzzarena.o
$(call fuzz,offload network): $(call support,netframe)
$(call fuzz,network): $T/fuzz/netmodel.o $T/fuzz/guardmap.o
$(call fuzz,network): LIBS += -Wl,--wrap=mmap,--wrap=munmap
$(call fuzz,config): $(CUSE_OPTIONS)
$(call fuzz,config): LIBS += $(INIH)
$(call fuzz,wmsg): $(WMSG)

# There is no number to be guessed in the table or in a model, and with UBSan's
# checks traced the search is much slower.
ifneq ($(FUZZING),)
$(O)/net/switch/mactable.o $T/fuzz/fuzz_mactable.o $T/fuzz/fuzz_network.o \
		$T/fuzz/netmodel.o: CPPFLAGS += -fno-sanitize-coverage=trace-cmp
endif

# ---- programs for the scripts of tests/system --------------------------------

HOST_OBJ := $(call support,cusehost cusehost_call cusehost_dev cusehost_peer \
	cusehost_trap)
$T/cusehost: $(HOST_OBJ)
	$(link)

SUPPORT_BIN := $(addprefix $T/,with-taps tcp-blob notify-listen storm bridge-guest \
	vduse-net first-thread tsc-khz)
$(SUPPORT_BIN): $T/%: $T/support/%.o
	$(link)
$T/storm: $(call support,vmm_net)
$T/bridge-guest: $(VMM)
$T/vduse-net: $(FE) $(CORE)

FLOW_BIN := $(addprefix $T/,backend-swap broken-neighbour net hostile-peers restart \
	hijack crash crowd deaths)
SYSTEM_BIN := $(FLOW_BIN) $(addprefix $T/,vu-peer inflight stuck-sessions \
	socket-rights quotas vdpa-client hijack-stranger survive soak)
$(SYSTEM_BIN): $T/%: $T/system/%.o $(VMM)
	$(link)
$(FLOW_BIN): $(call support,flow)
$T/hijack $T/stuck-sessions: $(call support,deaf_file)
$T/vdpa-client: LIBS = $(CMOCKA)

# uvhost-worker, taken over by its guest: the product's objects, and what does as a
# frame orders. The other one has no filter: what is open then is what it closes.
HIJACK_BIN := $(addprefix $T/,uvhost-worker-hijacked uvhost-worker-unconfined)
HIJACK_OBJ := $(call support,hijack hijack_ways hijack_channel)
$(HIJACK_BIN): LIBS = -Wl,--wrap=pwritev2,--wrap=writev,--wrap=wmsg_send \
	$(call pkg,--libs libseccomp)
$T/uvhost-worker-hijacked: $(call objs,$(WORKER_SRC)) $(HIJACK_OBJ)
	$(link)
$T/uvhost-worker-unconfined: $(call objs,$(filter-out %/wfilter.c,$(WORKER_SRC))) \
		$(HIJACK_OBJ) $(call support,hijack_open)
	$(link)

$T/vu-record: $T/wire/vu-record.o
	$(link)

# Without sanitizers: those that go into guests and need nothing but the kernel,
# and one that is preloaded.
GUEST_BIN := $(addprefix $T/,set-channels app1 bulk)
$(GUEST_BIN): ALONE = -static
$T/stuck-close.so: ALONE = -shared -fPIC
$(GUEST_BIN): $T/%: tests/support/%.c
$T/stuck-close.so: $T/%.so: tests/support/%.c
$(GUEST_BIN) $T/stuck-close.so:
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 $(ALONE) -o $@ $<

BENCH_SRC := $(addprefix tests/bench/,main.c engine.c side.c agent.c \
	agent_proc.c stats.c line.c report.c svg.c machine.c qtest.c qemunet.c vmtap.c vmdev.c \
	guest.c dpdk.c bareguest.c hops.c ringfeed.c taps.c threads.c wire.c) \
	$(sort $(wildcard tests/bench/sc_*.c))
$T/uvbench: LIBS = $(call pkg,--libs jansson) -lm
$T/uvbench: $(call objs,$(BENCH_SRC)) $(call support,netframe) $(VMM)
	$(link)

# With sanitizers only what runs with them: neither the library that is installed
# (programs of the tests have its objects) nor the bench.
tests: programs $(UNIT_BIN) $(WIRE_BIN) $(CONF_BIN) $(FUZZ_BIN) $(SUPPORT_BIN) \
	$(SYSTEM_BIN) $(GUEST_BIN) $(HIJACK_BIN) \
	$(addprefix $T/,cusehost vu-record stuck-close.so) $(if $(SAN),,lib $T/uvbench)

# ---- make check -----------------------------------------------------------

WRAP = $T/cusehost --trap-io --devices 4 $(O)/uvhostd \
	--device uvhost-net --device uvhost-packed,features=+packed+in_order \
	--device uvhost-broker,worker-process=off \
	--device uvhost-broker-packed,features=+packed+in_order,worker-process=off --
CHECKS = $(patsubst %,tap:%,$(UNIT_BIN) $(WIRE_BIN) $(FUZZ_BIN)) $(CONF_BIN:%=dev:%) \
	$(CONF_BIN:%=broker:%) \
	$(foreach t,user inproc,$(patsubst %,$(t):%,$(call conf,$(CONF_ANY)))) \
	$(patsubst %,gpa:%,$(call conf,$(CONF_GPA)))

# Scripts of tests/system, with their arguments. Under sanitizers only what drives
# the daemon in ways of its own. The longest is not the last: where two run side by
# side, one processor would have nothing to do at the end.
define SYSTEM_SCRIPTS
signals.sh
takeover.sh
no-descriptors.sh
backend-swap.sh
restart.sh
broken-neighbour.sh harness
inflight.sh
inflight.sh 20 worker
inflight.sh 20 broker
inflight.sh 20 worker net
socket-rights.sh
stuck-sessions.sh
stuck-sessions.sh 4 worker
stuck-sessions.sh 4 uffd
mute-memory.sh
quotas.sh
quotas.sh process
hijack.sh channel
hijack.sh successor
hijack.sh descriptors
hijack.sh killed
net.sh options
net.sh config
net.sh options worker
qemu-guest.sh vhostfd private
qemu-guest.sh vhostfd memfd
qemu-guest.sh vhostfd private packed=on
restart.sh 20 broker
restart.sh 4 worker
restart.sh 4 both
vhost-user.sh plain
vhost-user.sh queues
matrix.sh harness
storm.sh 10
soak.sh
migrate.sh vhostfd private
migrate.sh vhost-user memfd
endef
define SYSTEM_PLAIN
kill-qemu.sh
deaths.sh
selftest.sh
stuck-close.sh
space.sh
install.sh
rights.sh
hijack.sh ways
hijack.sh stranger
example.sh
idle.sh
crash.sh
restart.sh 1 crash few
restart.sh 6 upgrade
restart.sh 2 both net
restart.sh 2 both network
net.sh options network
crowd.sh
broken-neighbour.sh qemu
qemu-guest.sh vhostfd hugetlb
qemu-guest.sh vhostfd memfd packed=on
qemu-guest.sh vhostfds private
qemu-guest.sh network private
qemu-guest.sh vhost=on private
vhost-user.sh client
vhost-user.sh hugetlb
vhost-user.sh packed
vhost-user.sh restart
vhost-user.sh network
vhost-user.sh fewer
vhost-user.sh queues worker
vhost-user.sh network worker
vhost-user.sh restart worker
migrate.sh vhostfd memfd
migrate.sh vhostfd private kills
migrate.sh vhost-user memfd postcopy
migrate.sh vhost-user memfd postcopy worker
ipxe.sh vhost-user
ipxe.sh vhostfd disable-modern=on
two-hosts.sh linux
two-hosts.sh ovs
survive.sh
survive.sh -m memfd broker worker both restart
testpmd.sh
testpmd.sh worker
peers.sh dpdk
peers.sh qemu
endef
define newline


endef
# So many descriptors are under way from it that the kernel refuses those of other
# processes of the same user (ETOOMANYREFS).
SYSTEM_ALONE := alone:tests/system/hostile-peers.sh \
	"alone:tests/system/hostile-peers.sh 5 worker"
scripts = "sh:tests/system/$(subst $(newline)," "sh:tests/system/,$(1))"
SYSTEM = $(call scripts,$(SYSTEM_SCRIPTS))
ifeq ($(SAN),)
CHECKS += "tap:$T/uvbench --smoke" "tap:$T/uvbench --suite vm --smoke vm/cost vm/qemu"
SYSTEM += $(call scripts,$(SYSTEM_PLAIN))
endif

submake = @$(MAKE) --no-print-directory

check: deps
	$(submake) tests
	@BUILD=$(O) UVHOST_WRAP="$(WRAP)" UVHOST_DEV_PACKED=/dev/uvhost-packed \
		tests/run.sh $(SYSTEM_ALONE) $(CHECKS) $(SYSTEM)

check-asan:
	$(submake) SAN=address,undefined check

check-tsan:
	$(submake) SAN=thread check

check-vm: deps
	$(submake) tests
	@BUILD=$(O) tests/system/check-vm.sh

# README's two commands in fresh installations of both releases; by hand.
check-debian12:
	@BUILD=$(O) tests/system/debian.sh bookworm

check-debian13:
	@BUILD=$(O) tests/system/debian.sh trixie

# With the libfuse of other Debian suites: downloads them, installs nothing.
LIBFUSE ?= bookworm trixie forky
check-libfuse:
	$(submake) tests
	@BUILD=$(O) tests/system/libfuse.sh $(LIBFUSE)

# The five paths beside one another; $(O)/flows.svg is a picture of them.
flows: deps
	$(submake) all $T/cusehost $T/app1
	@BUILD=$(O) tests/system/flows.sh

# The same with the kernel's vhost-net and the real /dev/cuse: flows-6.12.svg
flows-vm: deps
	$(submake) all $T/app1
	@BUILD=$(O) tests/system/flows-vm.sh

# ---- make bench -----------------------------------------------------------

# SCENARIO="PATTERN..." LIST=1 BASE=REV: see tests/bench/main.c
BENCH = $T/uvbench --json $(O)/bench.json --svg $(O)/bench.svg
BENCH_BASE = base=$$(BUILD=$(O) CC='$(CC)' CFLAGS='$(CFLAGS)' \
	tests/bench/base.sh '$(BASE)') && $(BENCH) --base "$${base%%[[:space:]]*}" \
	--base-name "base $${base\#\#*[[:space:]]}"

bench: deps
	$(submake) all $T/cusehost $T/uvbench
	@set -f; $(if $(LIST),$T/uvbench --list,$(if \
		$(BASE),$(BENCH_BASE),$(BENCH))) $(SCENARIO)

# Beside the kernel's vhost-net and QEMU's virtio-net, in a machine with the real
# /dev/cuse. SCENARIO="PATTERN..."
bench-vm: deps
	$(submake) all $T/uvbench $T/bulk
	@set -f; BUILD=$(O) tests/bench/bench-vm.sh 6.12 $(SCENARIO)

# ---- make fuzz ------------------------------------------------------------

# Searches beside the corpus; what it finds stays in build-fuzz/found/NAME.
FUZZ_RUNS ?= 1000000

fuzz:
	$(submake) O=build-fuzz CC=clang FUZZING=1 \
		SAN=address,undefined fuzz-search

fuzz-search: $(FUZZ_SEARCH)
	@for f in $(FUZZ); do \
		echo "fuzz_$$f"; mkdir -p $(O)/found/$$f; \
		$T/fuzz/fuzz_$$f -runs=$(FUZZ_RUNS) -max_len=600 \
			-print_final_stats=1 -artifact_prefix=$(O)/found/ \
			$(O)/found/$$f tests/fuzz/corpus/$$f 2>$(O)/fuzz_$$f.log; \
		status=$$?; grep -E 'stat::number_of|stat::average|ERROR|SUMMARY' \
			$(O)/fuzz_$$f.log; [ $$status = 0 ] || exit $$status; \
	done
