#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# rights.sh - what uvhostd may do, and what it says when it may not; on the
# user-space CUSE host.
#
#   capabilities   CAP_DAC_OVERRIDE, and those for worker processes, are permitted
#                  to each thread, and in force in none
#   without        processes of other users are refused with EPERM, and a line in
#                  the log says what is missing
#   ordinary user  serves processes of its own

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/prelude.sh"
build=${BUILD:-$here/../../build}
owner=$BUILD/tests/conformance/test_owner
uv_need_tmp
work=$uv_tmp

uv_need_root "needs root to be another user"

# A daemon that is started by the words in $1, with the rest under it.
with_daemon()
{
	printf '#!/bin/sh\nexec %s "$@"\n' "$1" >"$work/daemon"
	chmod 755 "$work/daemon"
	shift
	"$BUILD/tests/cusehost" --trap-io "$work/daemon" -- "$@" \
		>"$work/out" 2>&1
}

fail()
{
	cat "$work/out"
	uv_die "$@"
}

cat >"$work/look" <<'LOOK'
#!/bin/bash
# In the daemon's threads: CapPrm has CAP_DAC_OVERRIDE (bit 1), CAP_KILL,
# CAP_SETGID and CAP_SETUID (5 to 7), CapEff has not.
exec 3<>/dev/uvhost-net || exit 1
for status in /proc/"$(cat "$1")"/task/*/status; do
	while read -r key value; do
		case $key in
		CapPrm:) [ $((0x$value & 0xe2)) = $((0xe2)) ] || exit 2 ;;
		CapEff:) [ $((0x$value & 0xe2)) = 0 ] || exit 3 ;;
		esac
	done <"$status"
done
LOOK
chmod 755 "$work/look"
"$BUILD/tests/cusehost" --daemon-pidfile "$work/pid" "$BUILD/uvhostd" -- \
	"$work/look" "$work/pid" >"$work/out" 2>&1 ||
	fail "capabilities are not as they should be: $?"

export UVHOST_TEST=a_process_of_another_user_is_served
with_daemon "$BUILD/uvhostd" "$owner" || fail "another user is not served"
with_daemon "setpriv --bounding-set=-dac_override $BUILD/uvhostd" "$owner" &&
	fail "another user is served without CAP_DAC_OVERRIDE"
grep -q 'got -EPERM' "$work/out" || fail "SET_OWNER did not fail with EPERM"
[ "$(grep -c '/proc/PID/mem.*needs.*CAP_DAC_OVERRIDE' "$work/out")" = 1 ] ||
	fail "not one line says what is missing"

# With files that it can read.
cp "$BUILD/uvhostd" "$BUILD/uvhost-worker" "$owner" "$work" && chmod 755 "$work" "$work"/* || exit 1
user="setpriv --reuid=65534 --regid=65534 --clear-groups"
user="$user --bounding-set=-all --inh-caps=-all"
export UVHOST_TEST='what_the_owner_executes_*'
with_daemon "$user $work/uvhostd" $user "$work/test_owner" ||
	fail "an ordinary user cannot serve itself"
grep -q 'SKIPPED' "$work/out" &&
	uv_skip "no tap for an ordinary user (user namespaces)"
echo "rights: ok"
