#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# survive.sh [-g GUESTS] [-m MEMORY] [-n KILLS] [-p PROPERTIES] [PART...] - guests
# in an unmodified QEMU ping and carry files while processes of ours are killed at
# random moments: files come through, no frame comes twice, QEMU says nothing.
#
#   -g GUESTS      so many (1), which run at the same time
#   -m MEMORY      private, memfd, or both in turn (the default)
#   -n KILLS       in each part (5)
#   -p PROPERTIES  of virtio-net-pci, comma-separated
#
# The parts, by default all of them, in this order:
#
#   start     anything of the next four, while the guests start
#   broker    uvhostd
#   worker    the worker process of a guest
#   both      that and uvhostd
#   restart   uvhostd is restarted as systemctl restart does it
#   upgrade   the same, and each time it is of another build
#   storm     uvhostd, while another VMM opens the device and closes it again
#   channels  anything, while the guest takes one and two queue pairs in turn
#   reset     anything, while the guest is reset
#   crash     the worker process, by signals of crashes, two of them
#   stop      the same until the guest stays stopped; its driver starts it again
#
# The table has for each part how many were killed; the longest pause between two
# answers to pings, and the median of the longest one after each kill; pings
# without an answer, and frames that came twice. The last two columns are the same
# pauses for a session that makes calls all the time. A time is never judged; that
# no ping is lost only where the worker processes live. After each part a session
# has one worker process, in the end there is none.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/traffic.sh
. "$here/traffic.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

[ -z "${UVHOST_VM-}" ] || load_modules cuse tun || exit 1
guests=1 memory='' kills=5 properties=''
arguments=("$@")
while getopts g:m:n:p: option; do
	case $option in
	g) guests=$OPTARG ;;
	m) memory=$OPTARG ;;
	n) kills=$OPTARG ;;
	p) properties=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- start broker worker both restart upgrade storm channels \
	reset crash stop
parts=" $* "

# In the check machine the guests share one processor with all of this.
mib=8 ping_us=1000
[ -z "${UVHOST_VM-}" ] || { mib=1 ping_us=50000; }
guest_mem=192
guest_reset=''
killer='' meters=()

has_part()
{
	case $parts in
	*" $1 "*) return 0 ;;
	esac
	return 1
}

queues=1
! has_part channels || { queues=2 guest_smp=2; }

# ---- the programs -----------------------------------------------------------

# two_builds FOLDER: a/ and b/, the same but for the name of the build, and
# current, which is one of them.
two_builds()
{
	local name build

	build=$(LC_ALL=C grep -aoE -m 1 '[0-9.]+-[0-9a-f]{16}' \
		"$BUILD/uvhost-worker" | head -n 1)
	[ -n "$build" ] || uv_die "uvhost-worker has no name of its build"
	mkdir "$1/a" "$1/b" && ln -s a "$1/current" || exit 1
	for name in uvhostd uvhost-worker; do
		cp "$BUILD/$name" "$1/a" &&
			LC_ALL=C sed "s/$build/${build%????}next/g" \
				"$1/a/$name" >"$1/b/$name" &&
			chmod 755 "$1/b/$name" || exit 1
		cmp -s "$1/a/$name" "$1/b/$name" && uv_die "$name has no build"
	done
}

other_build()
{
	local next=a

	[ "$(readlink "$programs/current")" = b ] || next=b
	ln -sfn $next "$programs/current"
}

# ---- kills ------------------------------------------------------------------

# nap SECONDS: until a random moment after them
nap()
{
	local ms=$(($1 * 1000 + RANDOM % ${within_ms:-300}))

	sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

# Prints one of the words.
one_of()
{
	shift $((RANDOM % $#))
	echo "$1"
}

# wait_for_new COMMAND...: what it prints, once that is another one than last time
wait_for_new()
{
	local end=$((SECONDS + 60 * UV_SLOW))

	while [ $SECONDS -lt $end ]; do
		found=$("$@")
		[ -z "$found" ] || [ "$found" = "${last["$*"]-}" ] || {
			last["$*"]=$found
			return
		}
		sleep 0.01
	done
	uv_die "$*: no other than ${last["$*"]-none}"
}

# A worker process of any guest, if there is one.
any_worker()
{
	device_workers "$(guest_pid "g$((RANDOM % guests))")" | shuf -n 1 |
		cut -d ' ' -f 1
}

# That of the first guest's first session.
first_worker()
{
	device_workers "$(guest_pid g0)" | sort -t / -k 2n | sed -n '1s/ .*//p'
}

mark()
{
	[ ${#meters[@]} -eq 0 ] || kill -USR1 "${meters[@]}"
}

# Until it is gone: a signal of a fault that comes from elsewhere may be taken for
# one of the guest's memory.
end_by()
{
	local i

	for ((i = 0; i < 100; i++)); do
		kill "-$1" "$2" 2>/dev/null || return 0
		sleep 0.05
	done
	uv_die "SIG$1 does not end the worker process $2"
}

# kill_one KIND [SIGNAL]
kill_one()
{
	local daemon

	case $1 in
	broker | storm)
		wait_for_new device_daemon
		nap 0
		mark
		kill -KILL "$found"
		;;
	worker)
		wait_for_new any_worker
		nap "${lived:-1}"
		mark
		# It may have ended with its uvhostd.
		kill -KILL "$found" 2>/dev/null
		;;
	both)
		wait_for_new device_daemon
		daemon=$found
		wait_for_new any_worker
		nap "${lived:-1}"
		mark
		kill -KILL "$found" 2>/dev/null
		kill -KILL "$daemon"
		;;
	restart | upgrade)
		wait_for_new device_daemon
		nap 0
		mark
		[ "$1" = restart ] || other_build
		device_restart
		;;
	crash | stop)
		wait_for_new first_worker
		nap "${lived:-1}"
		mark
		end_by "$2" "$found"
		;;
	any) lived=0 within_ms=1500 kill_one "$(one_of broker worker both restart)" ;;
	esac
}

# kill_some KIND: in a subshell; when it is over there is the file calm
kill_some()
{
	local i signals=(SEGV ABRT BUS)
	declare -A last=()

	trap ': >"$uv_tmp/calm"' EXIT
	for ((i = 0; i < $(how_many "$1"); i++)); do
		kill_one "$1" "${signals[i % 3]}"
		echo >>"$uv_tmp/killed"
		[ "$1" != stop ] || ! stopped || break
	done
	if [ "$1" = stop ]; then
		uv_wait 20 stopped || uv_die "$i crashes, and the guest goes on"
	fi
}

how_many()
{
	case $1 in
	crash) echo 2 ;;
	stop) echo 20 ;; # three within a minute
	*) echo "$kills" ;;
	esac
}

stopped()
{
	grep -q 'worker processes crashed within' "$device_log"
}

# ---- what goes on meanwhile -------------------------------------------------

# on N COMMAND...: with guest N's traffic
on()
{
	traffic_net "$1"
	shift
	"$@"
}

# carry N: files, until the killer is through
carry()
{
	while :; do
		traffic__download "g$1" "$mib" && traffic__upload "g$1" "$mib" ||
			return 1
		[ ! -e "$uv_tmp/calm" ] || return 0
	done
}

change_channels()
{
	while :; do
		guest_cmd "g$1" "set-channels eth0 1 && set-channels eth0 2" \
			240 >/dev/null || return 1
		[ ! -e "$uv_tmp/calm" ] || return 0
	done
}

reset()
{
	guest_mark "g$1"
	guest_qmp "g$1" system_reset && traffic_run "g$1" "$mib"
}

# Nothing goes on: the rings have stopped. The driver starts the device anew.
start_again()
{
	uv_wait 60 test -e "$uv_tmp/calm" || return 1
	guest_cmd "g$1" "for d in /sys/bus/virtio/drivers/virtio_net/virtio*; do\
 echo \${d##*/} >\${d%/*}/unbind; echo \${d##*/} >\${d%/*}/bind; done;\
 set_up_cards; wait_peer" 240 >/dev/null
}

# each COMMAND: runs it for each guest, all at the same time
each()
{
	local n pids=() pid status=0

	for ((n = 0; n < guests; n++)); do
		on $n "$1" $n &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || status=1
	done
	return $status
}

# meter NAME ARG...: it takes signals once it has said so
meter()
{
	local name=$1

	shift
	"$BUILD/tests/survive" "$@" >"$uv_tmp/$name.meter" &
	meters+=($!)
	uv_wait 20 test -s "$uv_tmp/$name.meter" || uv_die "survive $*"
}

start_meters()
{
	local n calls=calls

	case $1 in
	start | reset | stop) return ;;
	storm) calls=storm ;;
	esac
	for ((n = 0; n < guests; n++)); do
		on "$n" eval 'meter g$n ping $traffic_guest_ip uv$n $ping_us'
	done
	meter calls $calls "$device_node"
}

stop_meters()
{
	local pid

	[ ${#meters[@]} -eq 0 ] || kill "${meters[@]}"
	for pid in ${meters[@]+"${meters[@]}"}; do
		wait "$pid" || uv_die "$1: pings or calls failed"
	done
	meters=()
}

# ---- a part -----------------------------------------------------------------

# The worst of all guests. Columns as in the table.
print_row()
{
	local pings='' calls=''

	if [ -e "$uv_tmp/g0.meter" ]; then
		pings=$(tail -q -n 1 "$uv_tmp"/g*.meter | awk '
			{ n += $1; lost += $4; twice += $5 }
			$2 > longest { longest = $2 }
			$3 > median { median = $3 }
			END { print longest, median, n, lost, twice }')
		read -r _ calls < <(tail -n 1 "$uv_tmp/calls.meter")
	fi
	# shellcheck disable=SC2046,SC2086 # words
	printf '%-9s %5d  %8s %8s  %6s %6s %6s  %8s %8s\n' "$1" \
		$(wc -l <"$uv_tmp/killed") ${pings:-- - - - -} ${calls:-- -}
	# shellcheck disable=SC2086 # words
	judge "$1" ${pings:-- - - 0 0}
}

# judge PART LONGEST MEDIAN PINGS LOST TWICE
judge()
{
	[ "$6" = 0 ] || uv_die "$1: frames came twice"
	case $1 in
	broker | restart | storm)
		[ "$5" = 0 ] || uv_die "$1: the workers lived, and pings were lost"
		;;
	esac
}

# part NAME KIND COMMAND: COMMAND N for each guest, beside the kills
part()
{
	has_part "$1" || return 0
	rm -f "$uv_tmp/calm" "$uv_tmp"/*.meter
	: >"$uv_tmp/killed"
	start_meters "$1"
	kill_some "$2" &
	killer=$!
	each "$3" || uv_die "$1: a guest is lost"
	wait $killer || uv_die "$1: no more kills"
	killer=''
	stop_meters "$1"
	print_row "$1"
	uv_wait 30 workers_left $((guests * queues)) ||
		uv_die "$1: $((guests * queues)) sessions, and these worker" \
			"processes: $(device_leftovers)"
}

# workers_left N: so many, each of another session
workers_left()
{
	[ "$(device_leftovers | wc -l)" = "$1" ] &&
		[ "$(device_leftovers | cut -d ' ' -f 2 | sort -u | wc -l)" = "$1" ]
}

# ---- guests -----------------------------------------------------------------

# launch N: before the killer, which wants the process. The tap loses nothing.
launch()
{
	local args=() netdev=tap,id=n0,vhost=on
	local device=virtio-net-pci${properties:+,$properties} mode=$memory

	: "${mode:=$([ $(($1 % 2)) = 0 ] && echo private || echo memfd)}"
	[ "$mode" = private ] ||
		args=(-object "memory-backend-memfd,id=m,size=${guest_mem}M,share=on"
			-machine memory-backend=m)
	traffic_host "uv$1" "$([ $queues = 1 ] || echo multi_queue)" &&
		ip link set "uv$1" txqueuelen 10000 || uv_die "cannot make a tap"
	exec 30<>"$device_node" || uv_die "cannot open $device_node"
	if [ $queues = 1 ]; then
		netdev+=,ifname=uv$1,script=no,downscript=no,vhostfd=30
	else
		exec 31<>"$device_node" || uv_die "cannot open $device_node"
		netdev+=,fds=40:41,vhostfds=30:31
		device+=,mq=on,vectors=6
		guest_qemu="$BUILD/tests/with-taps uv$1 40 41 -- qemu-system-x86_64"
	fi
	guest_start "g$1" "$traffic_words" "${args[@]}" -netdev "$netdev" \
		-device "$device,netdev=n0" || uv_die "no guest"
	exec 30>&- 31>&-
}

# An address that is known cannot be lost in a pause.
know()
{
	local mac

	mac=$(ip neigh show "$traffic_guest_ip" dev "uv$1" |
		sed -n 's/.*lladdr \([^ ]*\).*/\1/p')
	ip neigh replace "$traffic_guest_ip" lladdr "$mac" dev "uv$1" nud permanent
}

up()
{
	traffic_run "g$1" "$mib" && know "$1"
}

again()
{
	traffic_again "g$1" "$mib"
}

quiet_qemu()
{
	local n said

	for ((n = 0; n < guests; n++)); do
		said=$(cat "$uv_tmp/g$n/qemu.out")
		# The err eventfd of a ring that was stopped.
		! has_part stop || said=$(grep -v 'vhost vring error' <<<"$said")
		[ -z "$said" ] || uv_die "QEMU: $said"
	done
}

quiet_daemon()
{
	local allowed='worker process [0-9]+: (killed by SIG|ended|exit status)'

	# Not for us to judge: how long the kernel takes.
	allowed+='|is stuck in its guest'
	! has_part stop || allowed+='|crashed within|the guest stays stopped'
	if grep -E 'error:|warning:' "$device_log" | grep -vE "$allowed"; then
		uv_die "the daemon complains"
	fi
}

cleanup()
{
	[ $? = 0 ] || tail -n 40 "$device_log" >&2
	[ -z "$killer" ] || kill "$killer" 2>/dev/null
	[ ${#meters[@]} -eq 0 ] || kill "${meters[@]}" 2>/dev/null
	guest_stop_all
	traffic_stop
	device_stop
}

uv_need_tmp
# Before the script is started again, for the daemon is started before that.
programs=${UV_SURVIVE-}
if [ -z "$programs" ]; then
	export UV_SURVIVE=$uv_tmp/programs
	programs=$UV_SURVIVE
	mkdir "$programs" && two_builds "$programs"
fi
device_keeper=1
device_program=$programs/current/uvhostd
device_args="--device uvhost-net,features=+packed,$device_with_workers"
device_start ${arguments[@]+"${arguments[@]}"}
uv_at_exit cleanup

if [ $queues = 2 ]; then
	guest_prepare && : >"$uv_tmp/job" &&
		guest_add_job "$uv_tmp/job" \
			"$BUILD/tests/set-channels=/bin/set-channels" ||
		uv_die "no initramfs"
fi
for ((n = 0; n < guests; n++)); do
	on "$n" launch "$n"
done
traffic_make_blob "$mib"
printf '%-9s %5s  %17s  %20s  %17s\n' '' '' 'pings: pause, ms' '' 'calls: pause, ms'
printf '%-9s %5s  %8s %8s  %6s %6s %6s  %8s %8s\n' part kills longest median \
	sent lost twice longest median
part start any up
has_part start || each up || uv_die "no traffic"
part broker broker carry
part worker worker carry
part both both carry
part restart restart carry
part upgrade upgrade carry
part storm storm carry
part channels any change_channels
part reset any reset
part crash crash carry
part stop stop start_again
each again || uv_die "no traffic in the end"
quiet_qemu
quiet_daemon
guest_stop_all
uv_wait 30 workers_left 0 ||
	uv_die "no guests, and these worker processes: $(device_leftovers)"
echo "guests: $guests; files came through, no frame came twice, QEMU said nothing"
