#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# hijack.sh ways|channel|successor|descriptors|killed|stranger - what a worker process cannot do once its guest has taken
# it over (hijack.c): uvhost-worker-hijacked is in its place.
#
#   ways     all ways out are denied, with private and with shared guest memory;
#            with the latter it does not reach the other memory of its own VMM. To
#            see that they are ways, a worker process without a filter tries them
#            first
#   channel  attacks on the daemon, one guest after the other
#   successor  the daemon that is started next finds what the worker process has
#            left in its memory
#   descriptors  guests pass descriptors whose close waits, and another one starts
#   killed   guests pass them, and the daemon is killed: it ends, the next one goes on
#   stranger another process of the same user attaches to worker processes that
#            start; the program cannot be read, as it is installed
#
# On the user-space CUSE host, or where there is one on the real /dev/cuse.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

grep -q 'take over worker' "$BUILD/uvhost-worker" &&
	uv_die "uvhost-worker itself takes orders"
uv_need_root "needs root to be another user"
uv_need_tmp
chmod 755 "$uv_tmp"
export UVHOST_LOG=$uv_tmp/log

# install_daemon WORKER: a folder with the daemon, and this program as its worker
install_daemon()
{
	local program=$BUILD/tests/$1 mode=711

	[ -e "$program" ] || program=$BUILD/$1
	mkdir -p "$uv_tmp/bin"
	install -m 755 "$BUILD/uvhostd" "$BUILD/uvhost-keeper" "$uv_tmp/bin"
	# A leak report needs a process that can be traced.
	ldd "$BUILD/uvhostd" | grep -qE 'lib(a|t|ub)san' && mode=755
	install -m $mode "$program" "$uv_tmp/bin/uvhost-worker"
}

# as_daemon: started with the daemon's arguments; its log begins with a line of ours
cat >"$uv_tmp/as_daemon" <<'DAEMON'
#!/bin/sh
exec 2>"$UVHOST_LOG"
echo 'the log begins' >&2
bin=$(dirname "$0")/bin
[ -z "${UV_KEEPER-}" ] ||
	exec "$bin/uvhost-keeper" --delay 1 --burst 1000 "$bin/uvhostd" "$@"
exec "$bin/uvhostd" "$@"
DAEMON
chmod 755 "$uv_tmp/as_daemon"

# run_kernel CLIENT...: on the real /dev/cuse
run_kernel()
{
	local pid status

	"$uv_tmp/as_daemon" --device uvhost-net,worker-process &
	pid=$!
	uv_wait 20 grep -qs 'ready$' "$UVHOST_LOG" || return 1
	chmod 666 /dev/uvhost-net
	UVHOST_DAEMON=$pid timeout -k 5 500 "$@"
	status=$?
	kill $pid
	wait $pid
	return $status
}

# run CLIENT...
run()
{
	if device__have_cuse; then
		run_kernel "$@"
		return
	fi
	# shellcheck disable=SC2016 # the shell's
	timeout -k 5 500 "$BUILD/tests/cusehost" ${UV_KEEPER:+--restarts} \
		--daemon-pidfile "$uv_tmp/pid" \
		"$uv_tmp/as_daemon" --device uvhost-net,worker-process -- \
		sh -c 'UVHOST_DAEMON=$(cat "$0") && export UVHOST_DAEMON && exec "$@"' \
		"$uv_tmp/pid" "$@"
}

fail()
{
	sed 's/^/  uvhostd: /' "$UVHOST_LOG" | tail -n 40 >&2
	uv_die "$@"
}

# ways_out MEMORY
ways_out()
{
	UVHOST_MEMORY=$1 run "$BUILD/tests/hijack" ways || fail "$1: status $?"
	grep -q '^hijack: done: ways$' "$UVHOST_LOG" ||
		fail "$1: it has not tried"
}

count()
{
	grep -c "^hijack: way: .*$1" "$UVHOST_LOG"
}

ways()
{
	local memory all open

	install_daemon uvhost-worker-unconfined
	ways_out private
	open=$(count ': OPEN ')
	echo "without a filter $open of $(count ':') ways are open"
	[ "$open" -ge 80 ] || fail "these are no ways"

	install_daemon uvhost-worker-hijacked
	for memory in private memfd; do
		ways_out $memory
		all=$(count ':')
		[ "$all" -ge 100 ] || fail "$memory: only $all ways were tried"
		grep '^hijack: way: .*: OPEN ' "$UVHOST_LOG" &&
			fail "$memory: not all ways are denied"
		grep -q '^hijack: reach: memory of another VMM: no$' \
			"$UVHOST_LOG" || fail "$memory: it reaches another VMM"
		[ $memory = private ] ||
			grep -q '^hijack: reach: memory of its own VMM: no$' \
				"$UVHOST_LOG" || fail "$memory: it owns its VMM"
		echo "$memory: $(count ': denied ') of $all ways are denied"
		sed -n 's/^hijack: reach: /  reaches: /p' "$UVHOST_LOG"
		[ "$(head -n 1 "$UVHOST_LOG")" = 'the log begins' ] ||
			fail "$memory: the log is overwritten"
	done
	sed -n 's/^hijack: way: /  /p' "$UVHOST_LOG"
}

channel()
{
	install_daemon uvhost-worker-hijacked
	run "$BUILD/tests/hijack" channel || fail "status $?"
}

successor()
{
	export UV_KEEPER=1
	install_daemon uvhost-worker-hijacked
	run "$BUILD/tests/hijack" successor || fail "status $?"
	if grep 'uvhost-keeper: .* was killed by signal' "$UVHOST_LOG" |
		grep -v 'signal 9 '; then
		fail "a daemon has crashed"
	fi
}

descriptors()
{
	install_daemon uvhost-worker
	run "$BUILD/tests/hijack" descriptors || fail "status $?"
}

killed()
{
	export UV_KEEPER=1
	install_daemon uvhost-worker
	run "$BUILD/tests/hijack" killed || fail "status $?"
}

stranger()
{
	local status

	install_daemon uvhost-worker
	run "$BUILD/tests/hijack-stranger" 100
	status=$?
	[ $status != 77 ] || exit 77
	[ $status = 0 ] || fail "status $status"
}

case ${1-} in
ways | channel | successor | descriptors | killed | stranger)
	$1
	;;
*)
	uv_die "usage: hijack.sh ways|channel|successor|descriptors|killed|stranger"
	;;
esac
