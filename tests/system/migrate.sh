#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# migrate.sh ATTACH MEMORY [postcopy] [worker] [kills] - a guest that writes memory and sends all
# the time moves from one QEMU to another while we ping it.
#
#   ATTACH    vhostfd     both on the character device
#             vhost-user  each on a socket of its own
#   MEMORY    private     plain -m (vhostfd only)
#             memfd       memory-backend-memfd, share=on
#   postcopy  (vhost-user memfd) the guest moves before its memory does
#   worker    (vhost-user) connections have worker processes
#   kills     (vhostfd) meanwhile the daemon and the guests' worker processes are
#             killed at random moments; QEMU says nothing
#
# What has to hold: the guest's files keep their checksums, its TCP connection
# goes on, the ping comes back, nothing comes twice. Prints the downtime.
#
# Under TCG QEMU itself loses pages that the guest writes while they are sent: with
# its own virtio-net and no device of ours the connection was gone in one migration
# of six (the guest's nc had died). So there are three attempts; one that failed is
# counted as a skipped part, with what it said.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

if [ -z "${UV_ATTEMPT-}" ]; then
	for UV_ATTEMPT in 1 2 3; do
		export UV_ATTEMPT
		said=$("$0" "$@" 2>&1)
		status=$?
		[ $status -eq 1 ] || break
		echo "$said"
		failures="${failures-}${failures:+; }$(tail -n 1 <<<"$said")"
	done
	echo "$said"
	[ $status -ne 0 ] || [ -z "${failures-}" ] ||
		uv_skip_part "attempts that failed: $failures"
	exit $status
fi

attach=$1 memory=$2 postcopy='' worker='' kills=''
for word in "${@:3}"; do
	case $word in
	postcopy) postcopy=1 ;;
	worker) worker=1 ;;
	kills) kills=1 device_keeper=1 device_args="--device uvhost-net,$device_with_workers" ;;
	*) uv_die "what is $word?" ;;
	esac
done
guest_mem=192
stream_port=5002
stream_pid='' ping_pid='' killer_pid=''

case $attach in
vhostfd) device_start "$@" ;;
vhost-user)
	uv_own_netns "$@"
	uv_need_tmp
	device_log=$uv_tmp/uvhostd.log
	;;
*) uv_die "what is $attach?" ;;
esac
uv_need_tmp

cleanup()
{
	[ -z "$killer_pid" ] || kill "$killer_pid" 2>/dev/null
	[ -z "$stream_pid" ] || kill "$stream_pid" 2>/dev/null
	[ -z "$ping_pid" ] || kill "$ping_pid" 2>/dev/null
	guest_stop_all
	traffic_stop
	device_stop
}
uv_at_exit cleanup

# A bridge has our address; one tap for each QEMU.
bridge_up()
{
	local tap

	ip link add uvbr type bridge && ip link set uvbr up || return 1
	for tap in uv0 uv1; do
		make_tap $tap && ip link set $tap master uvbr || return 1
	done
	ip addr add "$traffic_ip/24" dev uvbr
}

memory_args()
{
	[ "$memory" = private ] ||
		echo "-object memory-backend-memfd,id=m,size=${guest_mem}M,share=on" \
			"-machine memory-backend=m"
}

# start NAME N QEMU-ARG...: the QEMU on tap uvN
start()
{
	local name=$1 n=$2 netdev card=virtio-net-pci,netdev=n0,mac=52:54:00:66:00:02
	shift 2

	if [ "$attach" = vhostfd ]; then
		netdev=tap,id=n0,ifname=uv$n,script=no,downscript=no,vhost=on
		netdev="-netdev $netdev,vhostfd=$((30 + n))"
	else
		netdev="-chardev socket,id=c0,path=$uv_tmp/vu$n.sock
			-netdev vhost-user,id=n0,chardev=c0"
		[ "$(uv__accel)" = kvm ] || card=$card,vectors=0
	fi
	# shellcheck disable=SC2046,SC2086 # words
	guest_start "$name" "$traffic_words" $(memory_args) $netdev \
		-device "$card" "$@"
}

ready()
{
	grep -q 'ready$' "$device_log"
}

bridge_up || uv_die "no bridge"
if [ "$attach" = vhostfd ]; then
	exec 30<>"$device_node" 31<>"$device_node" ||
		uv_die "cannot open $device_node"
else
	keys=${postcopy:+,postcopy=on}${worker:+,worker-process}
	"$BUILD/uvhostd" \
		--socket-path "$uv_tmp/vu0.sock,port=tap:uv0$keys" \
		--socket-path "$uv_tmp/vu1.sock,port=tap:uv1$keys" \
		2>"$device_log" &
	device_pid=$!
	device_host=kernel
	uv_wait 10 ready || uv_die "uvhostd: $(cat "$device_log")"
fi

# Memory that changes all the time, and says so if it changes by itself.
cat >"$uv_tmp/memory-job" <<'JOB'
#!/bin/sh
n=0
while :; do
	head -c 3000000 /dev/urandom >/tmp/a
	sum=$(md5sum </tmp/a)
	cat /tmp/a >/tmp/b
	[ "$(md5sum </tmp/b)" = "$sum" ] && [ "$(md5sum </tmp/a)" = "$sum" ] ||
		touch /tmp/differs
	n=$((n + 1))
	echo $n >/tmp/rounds
done
JOB
cat >"$uv_tmp/stream-job" <<JOB
#!/bin/sh
i=0
while :; do
	i=\$((i + 1))
	echo line \$i
done | nc $traffic_ip $stream_port
JOB
chmod +x "$uv_tmp/memory-job" "$uv_tmp/stream-job"
: >"$uv_tmp/no-job"
guest_prepare && guest_add_job "$uv_tmp/no-job" \
	"$uv_tmp/memory-job=/bin/memory-job" \
	"$uv_tmp/stream-job=/bin/stream-job" || uv_die "no initramfs"

start from 0 || uv_die "no guest"
guest_wait from '^uv: agent' 60 || uv_die "no agent"
guest_cmd from "wait_peer 30" 60 >/dev/null || uv_die "the guest cannot reach us"

# dd, not our own stdin: its end would end the guest's nc
busybox nc -l -p $stream_port -e dd "of=$uv_tmp/stream" 2>/dev/null &
stream_pid=$!
uv_wait 20 traffic__listens $stream_port || uv_die "no listener"
guest_cmd from "memory-job & stream-job &" 30 >/dev/null ||
	uv_die "no jobs in the guest"
uv_wait 30 test -s "$uv_tmp/stream" || uv_die "no stream"
busybox ping -i 0.1 -W 2 "$traffic_guest_ip" >"$uv_tmp/ping" 2>&1 &
ping_pid=$!
guest_cmd from 'until [ -s /tmp/rounds ]; do sleep 0.1; done' 60 >/dev/null ||
	uv_die "the memory job does not start"
rounds_before=$(guest_cmd from 'cat /tmp/rounds')

# Until it is killed itself.
kill_ours()
{
	local pids way

	while sleep "0.$((RANDOM % 6 + 2))"; do
		way=$((RANDOM % 4))
		pids=''
		[ $way = 0 ] || pids=$(device_leftovers | shuf -n 1 | cut -d ' ' -f 1)
		[ $way = 1 ] || pids="$pids $(device_daemon)"
		if [ $way = 3 ]; then
			device_restart
		else
			# shellcheck disable=SC2086 # words; it may have ended
			kill -KILL $pids 2>/dev/null
		fi
		echo $way >>"$uv_tmp/killed"
	done
}

if [ -n "$kills" ]; then
	kill_ours &
	killer_pid=$!
fi
start to 1 -incoming defer || uv_die "no second QEMU"
bandwidth=$((1 << 30))
if [ -n "$postcopy" ]; then
	# most of the memory shall be fetched after the switch
	bandwidth=$((8 << 20))
	for side in from to; do
		guest_qmp $side migrate-set-capabilities '{"capabilities":
			[{"capability": "postcopy-ram", "state": true}]}'
	done
fi
guest_qmp to migrate-incoming "{\"uri\": \"unix:$uv_tmp/migrate.sock\"}"
wait_for_listener "$uv_tmp/migrate.sock" 20 ||
	uv_die "the second QEMU does not listen: $(cat "$uv_tmp/to/mon.out")"
guest_qmp from migrate-set-parameters "{\"max-bandwidth\": $bandwidth,
	\"max-postcopy-bandwidth\": $((1 << 30))}"
guest_qmp from migrate "{\"uri\": \"unix:$uv_tmp/migrate.sock\"}"
if [ -n "$postcopy" ]; then
	sleep 1
	guest_qmp from migrate-start-postcopy
fi

migrated()
{
	guest_qmp from query-migrate
	sleep 0.5
	grep -qE '"status": "(completed|failed|cancelled)"|"error":' \
		"$uv_tmp/from/mon.out"
}

uv_wait 120 migrated || uv_die "no end: $(tail -n 20 "$uv_tmp/from/mon.out")"
grep -q '"status": "completed"' "$uv_tmp/from/mon.out" ||
	uv_die "migration failed: $(tail -n 20 "$uv_tmp/from/mon.out" "$uv_tmp"/*/qemu.out)"
if [ -n "$postcopy" ]; then
	grep -q '"postcopy-requests": [1-9]' "$uv_tmp/from/mon.out" ||
		uv_die "no page was asked for: $(tail -n 3 "$uv_tmp/from/mon.out")"
fi
downtime=$(sed -n 's/.*"downtime": *\([0-9]*\).*/\1/p' "$uv_tmp/from/mon.out" |
	tail -n 1)
said=$(cat "$uv_tmp/from/qemu.out")
guest_stop from
if [ -n "$kills" ]; then
	kill "$killer_pid"
	wait "$killer_pid" 2>/dev/null
	killer_pid=''
fi
# What TCP has of the guest by now, and what was on the way, may still be written.
size=$(ss -Htni "sport = :$stream_port" |
	sed -n 's/.* bytes_received:\([0-9]*\) .*/\1/p')
[ -n "$size" ] || uv_die "the TCP connection is gone"

stream_grows()
{
	[ "$(stat -c %s "$uv_tmp/stream")" -gt $((size + 20000)) ]
}

# What each part of the way knows, when something does not come through
report_way()
{
	tail -n 3 "$uv_tmp/ping"
	ss -tnioe
	cat /proc/net/dev
	kill -USR1 "$device_pid" && sleep 1
	tail -n 40 "$device_log"
	guest_cmd to 'netstat -tn; cat /proc/net/dev; grep virtio /proc/interrupts'
} >&2

uv_wait 60 stream_grows ||
	{ report_way; uv_die "the TCP connection did not survive"; }
pings=$(grep -c 'bytes from' "$uv_tmp/ping")

ping_goes_on()
{
	[ "$(grep -c 'bytes from' "$uv_tmp/ping")" -gt $((pings + 5)) ]
}

uv_wait 30 ping_goes_on || uv_die "the ping did not come back"
kill -INT "$ping_pid"
wait "$ping_pid"
ping_pid=''
grep -q DUP "$uv_tmp/ping" && uv_die "a packet came twice"
guest_cmd to 'test ! -e /tmp/differs' || uv_die "the guest's memory is wrong"

memory_job_goes_on()
{
	rounds_after=$(guest_cmd to 'cat /tmp/rounds') &&
		[ "${rounds_after:-0}" -gt "$rounds_before" ]
}

uv_wait 60 memory_job_goes_on || uv_die "the memory job stands still"
# the stream has every line once: what was lost was sent again, and no more
kill "$stream_pid"
wait "$stream_pid" 2>/dev/null
stream_pid=''
head -n -1 "$uv_tmp/stream" | awk '$2 != NR { exit 1 }' ||
	uv_die "the stream is not what was sent"
# fault WORD...: not QEMU's, no further attempt
fault()
{
	uv_say "FAIL: $*"
	exit 3
}

allowed='^$'
[ -z "$kills" ] ||
	allowed='worker process [0-9]+: (killed by SIGKILL|ended)|is stuck in its guest'
complaints=$(grep -E 'error:|warning:|errors [1-9]' "$device_log" |
	grep -vE "$allowed")
if [ -n "$kills" ]; then
	said+=$(cat "$uv_tmp/to/qemu.out")
	[ -z "$said$complaints" ] || fault "$said $(cat "$device_log")"
fi
[ -z "$complaints" ] || uv_die "the daemon complains: $(cat "$device_log")"

longest()
{
	sed -n 's/.* seq=\([0-9]*\) .*/\1/p' "$uv_tmp/ping" | awk '
		NR > 1 && $1 - last > gap { gap = $1 - last } { last = $1 }
		END { print (gap ? gap - 1 : 0) }'
}

echo "migrate $attach $memory${postcopy:+ postcopy}${worker:+ worker}: downtime ${downtime:-?} ms," \
	"$(longest) pings of 0.1 s lost in a row," \
	"$((rounds_after - rounds_before)) rounds of the memory job\
${kills:+, $(wc -l <"$uv_tmp/killed") kills}"
