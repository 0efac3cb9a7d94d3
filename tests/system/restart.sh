#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# restart.sh [KILLS [daemon|broker|worker|both|crash [few]]] - a daemon, or the
# worker process of a guest, or both at once, are killed at random moments under a
# guest of the harness, which goes on with the next ones (restart.c). With "few" two
# kinds of guest have to do.
# A configuration that is wrong by then does not end it.
#
# uvhost-keeper is the parent. On the user-space CUSE host, or where there is one
# on the real /dev/cuse.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

uv_need_tmp

keeper=("$BUILD/uvhost-keeper" --delay 1 --burst 1000
	"$BUILD/uvhostd")

# run_kernel DAEMON-ARGS... -- CLIENT...: on the real /dev/cuse
run_kernel()
{
	local args=() pid status

	while [ "$1" != -- ]; do
		args+=("$1")
		shift
	done
	shift
	"${keeper[@]}" "${args[@]}" 2>"$uv_tmp/log" &
	pid=$!
	echo $pid >"$uv_tmp/pid"
	uv_wait 20 grep -q 'ready$' "$uv_tmp/log" || return 1
	timeout -k 5 500 "$@" 2>>"$uv_tmp/log"
	status=$?
	kill $pid
	wait $pid
	return $status
}

# run DAEMON-ARGS... -- CLIENT...
run()
{
	export UVHOST_KEEPER=$uv_tmp/pid
	if device__have_cuse; then
		run_kernel "$@"
		return
	fi
	timeout -k 5 500 "$BUILD/tests/cusehost" --restarts \
		--daemon-pidfile "$uv_tmp/pid" "${keeper[@]}" "$@" \
		2>"$uv_tmp/log"
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
lines=('split private' 'packed memfd viommu' 'split memfd' 'packed private'
	'packed memfd' 'split private viommu')
[ "${3-}" != few ] || lines=("${lines[@]:0:2}")

for line in "${lines[@]}"; do
	# shellcheck disable=SC2086 # words
	run --device "uvhost-net,$options" -- \
		"$BUILD/tests/restart" "${1:-20}" $line ||
		uv_die "$line: $(tail -n 30 "$uv_tmp/log")"
	if grep -E 'error:|warning:' "$uv_tmp/log" |
		grep -vE "$allowed"; then
		uv_die "$line: the daemon complains"
	fi
done
[ "$UVHOST_VICTIM" = daemon ] || exit 0

# wrong_config TEXT COMPLAINT: the file is like this once the guest runs
wrong_config()
{
	printf '[device uvhost-net]\n[net lan]\nmtu = 9000\n' >"$uv_tmp/conf"
	run --config "$uv_tmp/conf" -- \
		sh -c 'printf "$1" >"$2" && exec "$3" 5 split private' sh "$1" \
		"$uv_tmp/conf" "$BUILD/tests/restart" ||
		uv_die "$2: $(tail -n 30 "$uv_tmp/log")"
	grep -q "error: .*$2" "$uv_tmp/log" ||
		uv_die "not a word of $2: $(cat "$uv_tmp/log")"
	grep -q 'warning: the last good configuration is used' "$uv_tmp/log" ||
		uv_die "$2: what is used? $(cat "$uv_tmp/log")"
}
wrong_config '[device uvhost-net]\n[net lan]\nmtu = much\n' "'much'"
wrong_config '[device other]\n' "'uvhost-net' is in use"

# There is nothing to lose: a wrong one ends it, and the keeper with it.
printf 'nonsense\n' >"$uv_tmp/conf"
timeout 60 "$BUILD/uvhost-keeper" "$BUILD/uvhostd" \
	--config "$uv_tmp/conf" 2>"$uv_tmp/log"
status=$?
[ $status = 2 ] || uv_die "status $status: $(cat "$uv_tmp/log")"
