#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# inflight.sh [KILLS [VICTIM [net]]] - a daemon that is killed again and again under
# load, and a frontend that goes on with the next one (inflight.c): no frame
# twice. VICTIM: "worker", the worker process of the connection is killed;
# "broker", the daemon under a keeper, and no frame is missing. net: the tap is
# another port of a network.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"
# shellcheck source=tests/system/device.sh
. "$here/device.sh"

uv_own_netns "$@"
uv_need_tmp
expected='^$'
# At any moment of its life, and before it has one.
[ "${2-}" != broker ] || expected='busy: a second connection is turned away$'
[ "${2-}" != worker ] || expected='worker process [0-9]*: killed by SIGKILL; the connection is closed$|cannot serve a connection: |uvhost-worker did not start$'

[ "${3-}" != net ] || export UVHOST_NET_PORT=lan,tap:uv0
make_tap uv0 || uv_die "cannot make a tap"
# 64: one batch may go round the ring.
for ring in 'split 256' 'packed 256' 'split 64' 'packed 64'; do
	# shellcheck disable=SC2086 # words
	timeout -k 5 300 "$BUILD/tests/inflight" "$BUILD/uvhostd" \
		"$uv_tmp/s" uv0 $ring "${1:-30}" ${2-} 2>"$uv_tmp/log" ||
		uv_die "$ring: $(grep UVHOST_SEED "$uv_tmp/log") $(tail -n 20 "$uv_tmp/log")"
	# A record that makes no sense is only warned of.
	if grep -E 'error:|warning:' "$uv_tmp/log" | grep -vE "$expected"; then
		uv_die "$ring: the daemon complains"
	fi
done
