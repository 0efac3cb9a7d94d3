# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# traffic.sh - a Linux guest behind a tap talks to this machine, both ways.
# Source it after vm-lib.sh, in a network namespace of one's own.
#
#   traffic_host TAP [multi_queue]   our end: the tap, a web server, a sink
#   traffic_run NAME MIB             pings and transfers of guest NAME; results
#                                    in the traffic_* variables
#
# The guest runs its agent (uv.job=agent) with 10.66.0.2/24, we are 10.66.0.1.
# traffic_net N makes it 10.66.N.2 and 10.66.N.1, on a tap of its own.

traffic_pids=()

traffic_net()
{
	traffic_ip=10.66.$1.1
	traffic_guest_ip=10.66.$1.2
	traffic_sink=$((5001 + $1))
	traffic_words="uv.ip=$traffic_guest_ip/24 uv.peer=$traffic_ip uv.job=agent"
}
traffic_net 0

traffic_host()
{
	uv_need_tmp
	mkdir -p "$uv_tmp/www"
	make_tap "$1" "$traffic_ip/24" "${2-}" || return 1
	busybox httpd -f -p "$traffic_ip:80" -h "$uv_tmp/www" &
	traffic_pids+=($!)
}

traffic_stop()
{
	local pid

	for pid in ${traffic_pids[@]+"${traffic_pids[@]}"}; do
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	traffic_pids=()
}

traffic_make_blob()
{
	[ -s "$uv_tmp/www/blob" ] &&
		[ "$(stat -c %s "$uv_tmp/www/blob")" = $(($1 << 20)) ] && return
	head -c "$(($1 << 20))" /dev/urandom >"$uv_tmp/www/blob"
}

# "4.123" from a line of ping's summary: the field of min/avg/max asked for.
traffic__rtt()
{
	sed -n 's|.*min/avg/max = ||p' <<<"$1" | cut -d/ -f "$2" | cut -d' ' -f1
}

traffic__loss()
{
	sed -n 's/.* \([0-9.]*\)% packet loss.*/\1/p' <<<"$1"
}

traffic__ping_guest_to_host()
{
	local out

	out=$(guest_cmd "$1" "ping -c $2 -i 0.1 $traffic_ip" 60)
	traffic_rtt_up=$(traffic__rtt "$out" 2)
	traffic_loss_up=$(traffic__loss "$out")
	[ "$traffic_loss_up" = 0 ] ||
		{ uv_say "guest to host: $out"; return 1; }
}

traffic__ping_host_to_guest()
{
	local out

	out=$(busybox ping -c "$1" -i 0.1 "$traffic_guest_ip" 2>&1)
	traffic_rtt_down=$(traffic__rtt "$out" 2)
	traffic_loss_down=$(traffic__loss "$out")
	[ "$traffic_loss_down" = 0 ] ||
		{ uv_say "host to guest: $out"; return 1; }
}

# MiB and two times of the guest's /proc/uptime to Mbit/s.
traffic__rate()
{
	awk -v mib="$1" -v a="$2" -v b="$3" 'BEGIN {
		s = b - a; if (s < 0.01) s = 0.01
		printf "%.0f", mib * 8.388608 / s }'
}

traffic__download()
{
	local name=$1 mib=$2 out want t0 t1 sum

	traffic_make_blob "$mib"
	want=$(sha256sum <"$uv_tmp/www/blob" | cut -d' ' -f1)
	out=$(guest_cmd "$name" "uptime_s; wget -q -O /tmp/blob\
 http://$traffic_ip/blob; uptime_s; sha256sum /tmp/blob" 240)
	{ read -r t0; read -r t1; read -r sum _; } <<<"$out"
	traffic_down=$(traffic__rate "$mib" "$t0" "$t1")
	traffic_sum_down=$sum
	[ "$sum" = "$want" ] ||
		{ uv_say "download: sha256 $want became $sum"; return 1; }
}

# What the guest received goes back, so the sum is the same again.
traffic__upload()
{
	local name=$1 mib=$2 out t0 t1 sink sum

	# dd, not our own stdin: its end would end the guest's nc early
	busybox nc -l -p $traffic_sink -e dd "of=$uv_tmp/$name/upload" 2>/dev/null &
	sink=$!
	uv_wait 20 traffic__listens $traffic_sink || return 1
	out=$(guest_cmd "$name" "uptime_s; nc $traffic_ip $traffic_sink </tmp/blob;\
 uptime_s" 240)
	{ read -r t0; read -r t1; } <<<"$out"
	wait "$sink"
	traffic_up=$(traffic__rate "$mib" "$t0" "$t1")
	sum=$(sha256sum <"$uv_tmp/$name/upload" | cut -d' ' -f1)
	traffic_sum_up=$sum
	[ "$sum" = "$traffic_sum_down" ] ||
		{ uv_say "upload: sha256 $traffic_sum_down became $sum"; return 1; }
}

traffic__listens()
{
	ss -Hltn "sport = :$1" | grep -q .
}

traffic_run()
{
	guest_wait "$1" '^uv: agent' 60 || return 1
	guest_cmd "$1" "wait_peer 30" 60 >/dev/null ||
		{ uv_say "the guest cannot reach us"; guest_report "$1"; return 1; }
	traffic_again "$1" "$2"
}

# The same once more, with a guest that is known to run.
traffic_again()
{
	traffic__ping_guest_to_host "$1" 10 &&
		traffic__ping_host_to_guest 10 &&
		traffic__download "$1" "$2" &&
		traffic__upload "$1" "$2"
}
