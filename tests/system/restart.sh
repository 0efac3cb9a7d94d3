#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# restart.sh [KILLS [VICTIM [few|net|network]]] - processes of uvhost are killed at
# random moments, again and again, under a guest of the harness (restart.c). Its
# frames go on with the processes that follow.
#
#   VICTIM   what is killed: daemon, broker, worker, both, crash or upgrade. The
#            head of restart.c says what each means. upgrade: each daemon is of
#            another build than the one before
#   few      two kinds of guest instead of six; upgrade, net and network have two
#   net      the guest is in a network, whose other port is an interface
#   network  the same, and the network has a worker process, which ends with the
#            daemon
#
# "daemon" also makes the configuration file wrong under a running guest: the
# daemon that is started next goes on with the last good one.
#
# uvhost-keeper is the parent. On the user-space CUSE host, or where there is one
# on the real /dev/cuse.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

if [[ ${3-} = net* ]]; then
	uv_own_netns "$@"
fi
uv_need_tmp

keeper=("$BUILD/uvhost-keeper" --delay 1 --burst 1000
	"$BUILD/uvhostd")

# upgrade: each daemon and its worker processes have a build id of their own.
cat >"$uv_tmp/upgrade" <<'UPGRADE'
#!/bin/bash
dir=$(mktemp -d "$(dirname "$0")/build.XXXXXX") || exit
for i in uvhostd uvhost-worker; do
	LC_ALL=C sed -E "s/([0-9]+\.[0-9]+\.[0-9]+-)[0-9a-f]{16}/\1$(printf %016x $$)/" \
		"$BUILD/$i" >"$dir/$i" && chmod 755 "$dir/$i" || exit
done
exec "$dir/uvhostd" "$@"
UPGRADE
chmod 755 "$uv_tmp" "$uv_tmp/upgrade"
export BUILD

keeper_pid='' # on the real /dev/cuse

# end_keeper SECONDS: the keeper and its daemon end, or are made to, and the device
# goes.
end_keeper()
{
	local device=/sys/class/cuse/uvhost-net status=0

	[ -n "$keeper_pid" ] || return 0
	kill "$keeper_pid"
	if ! uv_wait "$1" uv_has_ended "$keeper_pid"; then
		status=1
		uv_say "uvhost-keeper does not end:"
		# shellcheck disable=SC2046 # words
		uv_show_threads $(uv_descendants "$keeper_pid") >&2
		uv_kill_all "$keeper_pid"
		# Whoever waits for an answer of the device's is let go.
		uv_wait 1 test ! -e $device || echo 1 >$device/abort
	fi
	wait "$keeper_pid"
	keeper_pid=''
	wait_for_no_path $device || status=1
	return $status
}

# At the end, also an early one: nothing stays.
end_all()
{
	local status=$? pid

	trap '' INT TERM HUP
	exec 2>&3
	# shellcheck disable=SC2046 # words
	[ $status -lt 128 ] || uv_show_threads $(uv_descendants $$) >&2
	end_keeper 1
	for pid in $(jobs -p); do
		uv_kill_all "$pid"
	done
}
exec 3>&2
uv_at_exit end_all
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# with_log COMMAND...: in a subshell of its own
with_log()
{
	exec "$@" 2>>"$uv_tmp/log" 3>&-
}

# limited COMMAND...: 500 s, but no longer than until shortly before run.sh ends all of
# this. $uv_tmp/waits gets what hangs.
limited()
{
	local left=500

	[ -z "${UVHOST_LIMIT-}" ] || left=$((UVHOST_LIMIT - SECONDS - 100))
	uv_limit $((left < 1 ? 1 : left < 500 ? left : 500)) \
		with_log "$@" 2>"$uv_tmp/waits"
}

# run_kernel DAEMON-ARGS... -- CLIENT...: on the real /dev/cuse
run_kernel()
{
	local args=() patience=15 status

	while [ "$1" != -- ]; do
		args+=("$1")
		shift
	done
	shift
	with_log "${keeper[@]}" "${args[@]}" &
	keeper_pid=$!
	echo $keeper_pid >"$uv_tmp/pid"
	uv_wait 20 grep -q 'ready$' "$uv_tmp/log" || return 1
	limited "$@"
	status=$?
	[ $status -ne 124 ] || patience=1
	end_keeper $patience 2>>"$uv_tmp/waits" || return 1
	return $status
}

# run DAEMON-ARGS... -- CLIENT...
run()
{
	export UVHOST_KEEPER=$uv_tmp/pid
	: >"$uv_tmp/log"
	: >"$uv_tmp/waits"
	if device__have_cuse; then
		run_kernel "$@"
		return
	fi
	limited "$BUILD/tests/cusehost" --restarts \
		--daemon-pidfile "$uv_tmp/pid" "${keeper[@]}" "$@"
}

# failed WHAT: run.sh keeps the last 25 lines: of the log, and of what hung.
failed()
{
	uv_die "$1: $(tail -n 24 "$uv_tmp/log" | cat - "$uv_tmp/waits" |
		tail -n 24)"
}

export UVHOST_VICTIM=${2:-daemon}
options=features=+packed
case $UVHOST_VICTIM in
daemon) options=$options,$device_without_workers ;;
*) options=$options,$device_with_workers ;;
esac
allowed='(killed by SIGKILL|ended); another one goes on'
[ "$UVHOST_VICTIM" != crash ] ||
	allowed='killed by SIG(SEGV|ABRT|BUS)|crashed within|the guest stays'
# By other tests, which run beside this one.
allowed+='|processes of this user have more descriptors in flight'
lines=('split private' 'packed memfd viommu' 'split memfd' 'packed private'
	'packed memfd' 'split private viommu')
[ "$UVHOST_VICTIM" != upgrade ] || {
	keeper[${#keeper[@]}-1]=$uv_tmp/upgrade
	lines=("${lines[@]:0:2}")
}
case ${3-} in
few) lines=("${lines[@]:0:2}") ;;
net | network)
	lines=("${lines[@]:0:2}")
	ip link add uvnear type veth peer name uvfar
	for i in uvnear uvfar; do
		echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6
		ip link set $i up
	done
	export UVHOST_FAR=uvfar
	options=$options,net=lan
	net=(--net lan)
	[ "$3" = net ] || net=(--net "lan,worker-process")
	net+=(--port "lan,packet:uvnear")
	;;
esac

for line in "${lines[@]}"; do
	# shellcheck disable=SC2086 # words
	run ${net:+"${net[@]}"} --device "uvhost-net,$options" -- \
		"$BUILD/tests/restart" "${1:-20}" $line ||
		failed "$line"
	if grep -E 'error:|warning:' "$uv_tmp/log" |
		grep -vE "$allowed"; then
		uv_die "$line: the daemon complains"
	fi
	[ "$UVHOST_VICTIM" != upgrade ] || grep -q 'is of another build' "$uv_tmp/log" ||
		uv_die "$line: no worker process was replaced: $(tail -n 24 "$uv_tmp/log")"
done
[ "$UVHOST_VICTIM" = daemon ] || exit 0

# wrong_config TEXT COMPLAINT: the file is like this once the guest runs
wrong_config()
{
	printf '[device uvhost-net]\n[net lan]\nmtu = 9000\n' >"$uv_tmp/conf"
	run --config "$uv_tmp/conf" -- \
		sh -c 'printf "$1" >"$2" && exec "$3" 5 split private' sh "$1" \
		"$uv_tmp/conf" "$BUILD/tests/restart" ||
		failed "$2"
	grep -q "error: .*$2" "$uv_tmp/log" ||
		uv_die "not a word of $2: $(cat "$uv_tmp/log")"
	grep -q 'warning: the last good configuration is used' "$uv_tmp/log" ||
		uv_die "$2: what is used? $(cat "$uv_tmp/log")"
}
wrong_config '[device uvhost-net]\n[net lan]\nmtu = much\n' "'much'"
wrong_config '[device other]\n' "'uvhost-net' is in use"

# There is nothing to lose: a wrong one ends it, and the keeper with it.
printf 'nonsense\n' >"$uv_tmp/conf"
timeout 300 "$BUILD/uvhost-keeper" "$BUILD/uvhostd" \
	--config "$uv_tmp/conf" 2>"$uv_tmp/log"
status=$?
[ $status = 2 ] || uv_die "status $status: $(cat "$uv_tmp/log")"
