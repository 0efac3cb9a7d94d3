#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# flows.sh [PATH...] - the five ways of a packet between an application in a
# guest (App1) and the outside, beside one another. `make flows` calls it.
#
#   1  e1000                                        and pcap
#   2  virtio-net, its queues served by QEMU        and pcap
#   3  virtio-net, by the kernel's vhost-net        and pcap
#   4  virtio-net, by uvhostd behind /dev/uvhost-net (CUSE)  and pcap
#   5  virtio-net, by uvhostd over vhost-user       and pcap
#
# In each a Linux guest in QEMU runs App1, the peer stands in a network
# namespace of its own behind a pair of veths, and the frames pass uvhostd's
# pcap port on the other veth. App1 sends in bulk ("transmission from App1");
# the peer sends in bulk, and both ask and answer ("communication between host
# and VM"). All that is sent arrives unchanged, or the path has failed.
#
# Prints tables, and writes flows.svg beside them in the build folder. Nothing
# is judged by time.
#
#   FLOWS_SECONDS   of a bulk transfer (2)
#   FLOWS_MIB       and at most so many MiB of it (48; in the check machine 12)
#   FLOWS_LOOK      0: no passes that count system calls (1)
#   FLOWS_OUT       folder for flows.txt, flows.tsv and flows.svg ($BUILD)

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"
# shellcheck source=tests/system/measure.sh
. "$here/measure.sh"

: "${FLOWS_SECONDS:=2}"
: "${FLOWS_MIB:=$([ -n "${UVHOST_VM-}" ] && echo 12 || echo 48)}"
: "${FLOWS_LOOK:=1}"
: "${FLOWS_OUT:=$BUILD}"
guest_ip=10.66.0.2
peer_ip=10.66.0.1
sink_port=5001
echo_port=5007
seed_up=1
seed_down=2
most=$((FLOWS_MIB << 20))
look=$((most / 4)) # bytes of the passes that look at system calls
exchanges=2000
guest_mem=320
app1=$BUILD/tests/app1

# --- the plumbing ----------------------------------------------------------

# The daemon's command line, all of it in this one place.
path_daemon()
{
	local lan="--net lan --port lan,pcap:veth0"

	case $1 in
	1 | 2) echo "$lan --port lan,qemu:stream,server=unix:$flows_dir/frames.sock" ;;
	3) echo "$lan --port lan,packet:uv0" ;;
	4) echo "$lan --device uvhost-net,net=lan" ;;
	5) echo "$lan --socket-path $flows_dir/vu.sock,net=lan" ;;
	esac
}

# And QEMU's.
path_qemu()
{
	local card=virtio-net-pci,netdev=n0

	case $1 in
	1 | 2)
		[ "$1" = 2 ] || card=e1000,netdev=n0
		# not dgram: QEMU does not connect that socket, so poll(2) always
		# finds room in it, and QEMU spins when it is full
		echo "-netdev stream,id=n0,server=off,addr.type=unix,addr.path=$flows_dir/frames.sock"
		;;
	3)
		echo "-netdev tap,id=n0,ifname=uv0,script=no,downscript=no,vhost=on,vhostforce=on"
		;;
	4)
		# any tap will do: the device is on the network
		echo "-netdev tap,id=n0,ifname=uv0,script=no,downscript=no,vhost=on,vhostfd=30"
		;;
	5)
		# QEMU 7.2 crashes under TCG where a guest sets up MSI-X on a
		# vhost-user card
		[ "$(uv__accel)" = kvm ] || card=$card,vectors=0
		echo "-object memory-backend-memfd,id=m,size=${guest_mem}M,share=on"
		echo "-machine memory-backend=m"
		echo "-chardev socket,id=c0,path=$flows_dir/vu.sock"
		echo "-netdev vhost-user,id=n0,chardev=c0"
		;;
	esac
	echo "-device $card -name debug-threads=on"
}

path_name()
{
	case $1 in
	1) echo "e1000|QEMU's device model" ;;
	2) echo "virtio-net|QEMU" ;;
	3) echo "virtio-net|kernel vhost-net" ;;
	4) echo "virtio-net|/dev/uvhost-net (CUSE)" ;;
	5) echo "virtio-net|vhost-user backend" ;;
	esac
}

# Why the path cannot be run here, or nothing.
path_lacks()
{
	[ "$1" = 3 ] || return 0
	[ -e /dev/vhost-net ] || modprobe -q vhost_net 2>/dev/null
	[ -e /dev/vhost-net ] ||
		echo "this kernel has no vhost-net (make flows-vm has)"
}

# --- one path, in a network namespace of its own ---------------------------

peer()
{
	nsenter -t "$FLOWS_PEER" -n "$@"
}

# In the background, until path_cleanup; $! is the program itself.
peer_start()
{
	nsenter -t "$FLOWS_PEER" -n "$@" &
	helpers+=($!)
}

flows__peer_is_apart()
{
	[ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

# What pcap takes and gives are frames as they are on a wire: whole checksums,
# nothing longer than the MTU.
offloads_off()
{
	"$@" tx off tso off gso off gro off >/dev/null
}

# Once, before the daemon: the pair of veths, the peer's namespace, the tap.
network_make()
{
	unshare --net setpriv --pdeathsig KILL sleep infinity &
	export FLOWS_PEER=$!
	uv_wait 5 flows__peer_is_apart "$FLOWS_PEER" || return 1
	ip link add veth0 type veth peer name veth1 &&
		ip link set veth1 netns "$FLOWS_PEER" || return 1
	echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
	peer sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
		ip link set lo up'
	offloads_off ethtool -K veth0 && offloads_off peer ethtool -K veth1 ||
		return 1
	ip link set veth0 up && peer ip link set veth1 up &&
		peer ip addr add "$peer_ip/24" dev veth1 || return 1
	case $path in
	3 | 4) make_tap uv0 ;;
	esac
}

daemon_ready_or_gone()
{
	grep -q 'ready$' "$device_log" || ! kill -0 "$device_pid" 2>/dev/null
}

daemon_start()
{
	device_log=$flows_dir/uvhostd.log
	: >"$device_log"
	device_host=kernel # a process of ours, device_stop ends it
	# shellcheck disable=SC2046 # words
	"$BUILD/uvhostd" $(path_daemon "$path") 2>"$device_log" &
	device_pid=$!
	uv_wait 10 daemon_ready_or_gone
	grep -q 'ready$' "$device_log" ||
		uv_die "uvhostd: $(cat "$device_log")"
}

networks_printed()
{
	[ "$(grep -c '^lan: ports ' "$device_log")" -gt "$1" ]
}

# Bytes that the daemon has copied for its network, from the counters: what a
# guest sends from mapped memory (vhost-user) is copied out of it; what is for a
# guest waits in a box, from which it is copied into mapped memory. (Memory that
# is copied is read and written by system calls.)
network_copies()
{
	local before

	before=$(grep -c '^lan: ports ' "$device_log")
	kill -USR1 "$device_pid" || return 1
	uv_wait 5 networks_printed "$before" || return 1
	awk '/^lan: ports / { sum = 0 }
	/^lan\./ && !/^lan\.(pcap|qemu|packet):/ {
		mapped = !/^lan\.uvhost-net/
		for (i = 2; i < NF; i++) {
			if ($i == "sent")
				sum += mapped * substr($(i + 2), 2)
			if ($i == "received")
				sum += (1 + mapped) * substr($(i + 2), 2)
		}
	}
	END { print sum + 0 }' "$device_log"
}

# Tells the result, for the tables: KEY VALUE...
tell()
{
	printf '%s\t%s\n' "$1" "${*:2}" >>"$FLOWS_RESULT"
}

guest_boot()
{
	: >"$flows_dir/no-job"
	guest_prepare && guest_add_job "$flows_dir/no-job" \
		"$app1=/bin/app1" || return 1
	[ "$path" != 4 ] || exec 30<>"$device_node" || return 1
	# shellcheck disable=SC2046 # words
	guest_start g "uv.ip=$guest_ip/24 uv.peer=$peer_ip uv.job=agent" \
		$(path_qemu "$path") || return 1
	[ "$path" != 4 ] || exec 30>&-
	guest_wait g '^uv: agent' 60 && guest_cmd g "wait_peer" 60 >/dev/null ||
		return 1
	guest_cmd g "app1 stream $seed_up $most >/tmp/data" 60 &&
		guest_cmd g "app1 echo $echo_port &" || return 1
	"$app1" stream $seed_down "$most" >"$flows_dir/data"
	peer_start "$app1" echo $echo_port
	vmm=$(guest_pid g)
	mapfile -t kernel_threads < <(measure_kernel_threads "$vmm")
}

# sum_of SEED BYTES
sum_of()
{
	"$app1" stream "$1" "$2" | sha256sum | cut -d' ' -f1
}

# transfer_up BYTES, transfer_down BYTES: set moved (bytes) and took (ns), both
# by the peer's clock; false unless the data arrived as it was.
transfer_up()
{
	local sink

	peer_start "$app1" sink $sink_port "$flows_dir/up" "$1" \
		>"$flows_dir/up.res"
	sink=$!
	guest_cmd g "app1 send $peer_ip $sink_port /tmp/data $1 $FLOWS_SECONDS" \
		120 >"$flows_dir/up.guest" ||
		{ uv_say "App1: $(cat "$flows_dir/up.guest")"; return 1; }
	wait "$sink" || return 1
	unset "helpers[-1]"
	read -r moved took <"$flows_dir/up.res"
}

transfer_up_intact()
{
	local sum

	sum=$(sha256sum <"$flows_dir/up" | cut -d' ' -f1)
	[ "$sum" = "$(sum_of $seed_up "$moved")" ] ||
		{ uv_say "from App1: $moved bytes came as $sum"; return 1; }
}

transfer_down()
{
	guest_cmd g "app1 sink $sink_port /tmp/down $1 >/tmp/down.res & sink=\$!" \
		>/dev/null || return 1
	peer "$app1" send $guest_ip $sink_port "$flows_dir/data" "$1" \
		"$FLOWS_SECONDS" >"$flows_dir/down.res" || return 1
	read -r moved took <"$flows_dir/down.res"
}

transfer_down_intact()
{
	local sum

	guest_cmd g "wait \$sink" >/dev/null || return 1
	sum=$(guest_cmd g "sha256sum </tmp/down" 120 | cut -d' ' -f1)
	[ "$sum" = "$(sum_of $seed_down "$moved")" ] ||
		{ uv_say "to App1: $moved bytes came as $sum"; return 1; }
}

# "VCPU VMM DAEMON THREADS KERNEL" in ns: of the guest's processors, of the rest
# of QEMU, of the daemon, of kernel threads (vhost's is QEMU's); and how much of all that was spent
# in the kernel.
cpu_now()
{
	local v u w k d dw dk t tw

	read -r v u w k <<<"$(measure_cpu "$vmm")"
	read -r _ d dw dk <<<"$(measure_cpu "$device_pid")"
	read -r _ t tw _ <<<"$(measure_cpu "${kernel_threads[@]}")"
	echo "$v $u $((d + dw)) $((w + t + tw)) $((k + dk + t + tw))"
}

# An emulated processor translates what it runs for the first time, and TCP
# knows nothing yet: not to be measured.
pass_first()
{
	transfer_up "$look" && transfer_up_intact &&
		transfer_down "$look" && transfer_down_intact
}

# pass_timed up|down: throughput and CPU
pass_timed()
{
	local before after

	before=$(cpu_now)
	"transfer_$1" "$most" || return 1
	after=$(cpu_now)
	"transfer_$1_intact" || return 1
	tell "$1_bytes" "$moved"
	tell "$1_mbit" "$(awk -v b="$moved" -v t="$took" 'BEGIN {
		printf "%.1f", b * 8000 / (t + 1) }')"
	tell "$1_cpu" "$(awk -v b="$moved" '
		NR == 1 { split($0, x); next }
		{ for (i = 1; i <= 5; i++) printf "%.2f ", ($i - x[i]) / b }' \
		<<<"$before"$'\n'"$after")"
}

# ratio A B: to two places, or ? where one is not known
ratio()
{
	awk -v a="$1" -v b="$2" 'BEGIN {
		if (a !~ /^[0-9]+$/ || b !~ /^[0-9]+$/ || b == 0) print "?"
		else printf "%.2f", a / b }'
}

# pass_calls up|down: system calls of QEMU and the daemon, by the frames on the
# wire
pass_calls()
{
	local frames frames_end who

	measure_calls_start vmm "$vmm" &&
		measure_calls_start daemon "$device_pid" || measure_end
	read -r frames _ <<<"$(measure_frames veth0)"
	"transfer_$1" "$look" || return 1
	read -r frames_end _ <<<"$(measure_frames veth0)"
	for who in vmm daemon; do
		measure_calls_stop $who
		tell "$1_calls_$who" \
			"$(ratio "$measure_result" $((frames_end - frames)))"
	done
	"transfer_$1_intact"
}

# pass_copies up|down: bytes copied, by the bytes on the wire
pass_copies()
{
	local bytes bytes_end who net net_end

	measure_copies_start vmm "$vmm" &&
		measure_copies_start daemon "$device_pid" || measure_end
	net=$(network_copies)
	read -r _ bytes <<<"$(measure_frames veth0)"
	"transfer_$1" "$look" || return 1
	read -r _ bytes_end <<<"$(measure_frames veth0)"
	net_end=$(network_copies)
	for who in vmm daemon; do
		measure_copies_stop $who
		tell "$1_copies_$who" \
			"$(ratio "$measure_result" $((bytes_end - bytes)))"
	done
	[ -n "$net" ] && [ -n "$net_end" ] && net=$((net_end - net)) || net='?'
	tell "$1_copies_network" "$(ratio "$net" $((bytes_end - bytes)))"
	"transfer_$1_intact"
}

# Round trips: App1 asks the peer, and the peer asks App1.
pass_round_trips()
{
	local n median p99 lost

	guest_cmd g "app1 ping $peer_ip $echo_port $exchanges $FLOWS_SECONDS" \
		60 >"$flows_dir/ping" || return 1
	read -r n median p99 lost <"$flows_dir/ping"
	tell up_rtt "$((median / 1000)) $((p99 / 1000)) $n $lost"
	peer "$app1" ping $guest_ip $echo_port $exchanges "$FLOWS_SECONDS" \
		>"$flows_dir/ping" || return 1
	read -r n median p99 lost <"$flows_dir/ping"
	tell down_rtt "$((median / 1000)) $((p99 / 1000)) $n $lost"
}

path_cleanup()
{
	local pid

	measure_end
	guest_stop_all
	for pid in ${helpers[@]+"${helpers[@]}"}; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	device_stop
	[ -n "${UV_DEVICE_LOG-}" ] || [ -z "${FLOWS_PEER-}" ] ||
		kill "$FLOWS_PEER" 2>/dev/null
}

path_failed()
{
	tell status failed
	sed 's/^/  uvhostd: /' "$device_log" >&2
	[ -z "$uv_tmp" ] || [ ! -e "$uv_tmp/g/pid" ] || guest_report g
	uv_die "path $path: $*"
}

# path_run N: told in $FLOWS_RESULT
path_run()
{
	path=$1 helpers=()
	flows_dir=$FLOWS_DIR
	[ -n "${UV_NETNS-}" ] || uv_die "only in a namespace of its own"
	uv_at_exit path_cleanup
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	[ -n "${FLOWS_PEER-}" ] || network_make || uv_die "no network"
	if [ "$path" = 4 ]; then
		device_args=$(path_daemon 4)
		export UV_LOG=$flows_dir/uvhostd.log
		device_start --path 4
		tell cuse "$device_host"
	else
		daemon_start
	fi
	uv_need_tmp
	guest_boot || path_failed "no guest, or no way through"
	pass_first || path_failed "the first transfers"
	pass_timed up || path_failed "transmission from App1"
	pass_timed down || path_failed "bulk to App1"
	pass_round_trips || path_failed "round trips"
	for pass in "calls up" "calls down" "copies up" "copies down"; do
		[ "$FLOWS_LOOK" != 0 ] || continue
		# shellcheck disable=SC2086 # words
		pass_${pass% *} ${pass#* } || path_failed "with $pass"
	done
	network_copies >/dev/null # leaves the counters in the log
	cp "$device_log" "$FLOWS_OUT/flows-$path.log"
	if grep -qE 'error:|errors [1-9]' "$device_log"; then
		path_failed "the daemon complains"
	fi
	tell status ran
}

# --- all of them -----------------------------------------------------------

flows_describe()
{
	local memory=private

	[ "$1" != 5 ] || memory=memfd
	tell name "$(path_name "$1")"
	tell memory "$memory"
}

flows_host()
{
	printf '0\tkernel\t%s\n' "$(uname -r)"
	printf '0\tqemu\t%s\n' \
		"$(qemu-system-x86_64 --version | sed -n '1s/.*version //; 1s/ .*//p')"
	printf '0\taccel\t%s\n' "$(uv__accel)"
	printf '0\tcpus\t%s\n' "$(nproc)"
	printf '0\ttool\t%s\n' "$(measure_tool)"
}

# flows_one N: runs it, and adds what it told to the table
flows_one()
{
	local why code=0

	export FLOWS_DIR=$work/$1 FLOWS_RESULT=$work/$1/result
	mkdir "$FLOWS_DIR"
	flows_describe "$1"
	why=$(path_lacks "$1")
	if [ -n "$why" ]; then
		tell status skipped
		tell why "$why"
	else
		echo "path $1: $(path_name "$1" | tr '|' ',')" >&2
		in_netns "$0" --path "$1" >"$FLOWS_DIR/said" 2>&1 || code=$?
		[ "$code" = 0 ] ||
			{ sed 's/^/  /' "$FLOWS_DIR/said" >&2; failed="$failed $1"; }
	fi
	sed "s/^/$1\t/" "$FLOWS_RESULT" >>"$work/all"
	cp "$work/all" "$FLOWS_OUT/flows.tsv" # also if the rest never ends
}

# The check machine has what it has loaded, and lends nothing to its host.
flows_prepare_vm()
{
	load_modules cuse tun veth vhost_net af_packet && make_static_nodes ||
		uv_die "this machine is not complete"
	[ -e /sys/kernel/tracing/events ] ||
		mount -t tracefs tracefs /sys/kernel/tracing
}

flows_main()
{
	local tool n

	uv_need_root "namespaces need root"
	for tool in ethtool nsenter setpriv sha256sum; do
		command -v $tool >/dev/null || uv_skip "no $tool"
	done
	[ -z "${UVHOST_VM-}" ] || flows_prepare_vm
	[ $# -gt 0 ] || set -- 1 2 3 4 5
	uv_need_tmp
	work=$uv_tmp failed=''
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	mkdir -p "$FLOWS_OUT" || uv_die "no folder $FLOWS_OUT"
	export BUILD FLOWS_OUT FLOWS_SECONDS FLOWS_MIB FLOWS_LOOK
	flows_host >"$work/all"
	for n; do
		flows_one "$n"
	done
	awk -f "$here/flows-table.awk" "$work/all" | tee "$FLOWS_OUT/flows.txt"
	awk -f "$here/flows-svg.awk" "$work/all" >"$FLOWS_OUT/flows.svg" ||
		uv_die "no picture"
	if command -v xmllint >/dev/null; then
		xmllint --noout "$FLOWS_OUT/flows.svg" || uv_die "the picture is not XML"
	else
		uv_skip_part "flows.svg not looked at as XML (Debian: libxml2-utils)"
	fi
	echo
	echo "picture: $FLOWS_OUT/flows.svg"
	[ -z "$failed" ] || uv_die "path$failed: data not intact, or no data"
}

case ${1-} in
--path) path_run "$2" ;;
*) flows_main "$@" ;;
esac
