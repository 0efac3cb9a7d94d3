#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# storm.sh [SECONDS] - a port of a network sends broadcasts and frames to unknown addresses,
# each from a new address, as fast as it can, beside a pair that works. The
# daemon may not grow, and the pair has to go on; what is left of its rate is
# printed: without a limit, and with one (flood=) on the port of the storm.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/spaces.sh
. "$here/spaces.sh"

seconds=${1:-30}
grow_kib=8192 # what the daemon's own memory may grow by
flood=1000
uv_own_netns "$@"
uv_need_tmp
log=$uv_tmp/uvhostd.log
: >"$log"
storms=() daemon=''

cleanup()
{
	local pid

	for pid in "${storms[@]}"; do
		kill -CONT "$pid" 2>/dev/null
		kill "$pid" 2>/dev/null
	done
	spaces_stop
	[ -z "$daemon" ] || { kill "$daemon" && wait "$daemon"; }
}
uv_at_exit cleanup

"$BUILD/uvhostd" --net lan \
	--socket-path "$uv_tmp/a,net=lan" --socket-path "$uv_tmp/b,net=lan" \
	--socket-path "$uv_tmp/free,net=lan" \
	--socket-path "$uv_tmp/limited,net=lan,flood=$flood" 2>>"$log" &
daemon=$!
uv_wait 10 grep -q 'ready$' "$log" || uv_die "uvhostd: $(cat "$log")"
n=1
for name in a b free limited; do
	space $name && space_guest $name "user:$uv_tmp/$name" &&
		space_addr $name 10.1.0.$((n++))/24 || uv_die "no guest $name"
done
space_serve b

held()
{
	echo "$(find "/proc/$daemon/fd" -type l | wc -l) descriptors," \
		"$(find "/proc/$daemon/task" -mindepth 1 -maxdepth 1 |
			wc -l) threads"
}

# rate KIND: one transfer of the pair; adds to the sum of its kind
declare -A sum=([quiet]=0 [free]=0 [limited]=0)
rate()
{
	local out

	out=$(space_blob a b 16384) || uv_die "the pair, $1: $out"
	sum[$1]=$((sum[$1] + ${out% *}))
}

# storm NAME: for as long as one transfer takes, and a moment before
storm()
{
	kill -CONT "${storm_pid[$1]}" && sleep 0.2
	rate "$1"
	# one may be lost where ports are flooded
	uv_wait 10 space_ping a b -c 1 -W 1 >/dev/null || uv_die "no ping, $1"
	kill -STOP "${storm_pid[$1]}" && sleep 0.1
}

uv_wait 10 space_ping a b -c 1 -W 1 >/dev/null || uv_die "the pair is not there"
declare -A storm_pid
for name in free limited; do
	nsenter -t "${space_pids[$name]}" -n "$BUILD/tests/storm" eth0 \
		>"$uv_tmp/storm-$name" &
	storm_pid[$name]=$!
	storms+=($!)
	sleep 0.5 # once before memory is looked at: tables fill
	kill -STOP $!
done
space_blob a b 16384 >/dev/null || uv_die "the pair does not work"
before=$(uv_data_kib "$daemon") held=$(held)
rounds=0 until=$((SECONDS + seconds))
while [ $SECONDS -lt $until ]; do
	rate quiet
	storm free
	storm limited
	rounds=$((rounds + 1))
done
after=$(uv_data_kib "$daemon")
for name in free limited; do
	kill -CONT "${storm_pid[$name]}"
	kill "${storm_pid[$name]}"
	wait "${storm_pid[$name]}" || uv_die "storm $name: status $?"
	echo "$name: $(cat "$uv_tmp/storm-$name") frames," \
		"the pair at $((sum[$name] * 100 / (sum[quiet] + 1)))%" \
		"of $((sum[quiet] / rounds)) Mbit/s"
done
echo "own memory: $before KiB, then $after KiB; $held"
# sanitizers keep freed memory, and have memory of their own
uv_sanitized "$daemon" || [ "$after" -le $((before + grow_kib)) ] ||
	uv_die "the daemon grew"
[ "$(held)" = "$held" ] || uv_die "$held became $(held)"
if grep -E 'error:' "$log" || [ "$(wc -l <"$log")" -gt 200 ]; then
	uv_die "the daemon complains: $(tail -n 20 "$log")"
fi
