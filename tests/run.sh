#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# run.sh - runs tests and counts.
#
#   run.sh KIND:COMMAND...
#
#   tap:COMMAND   prints TAP (a cmocka program, a corpus replay)
#   dev:COMMAND   the same, but needs the device: run under $UVHOST_WRAP
#   broker:COMMAND the same, with a device whose guests have no worker processes
#   user:COMMAND, inproc:COMMAND
#                 the same, with a device of its own, behind that transport of
#                 the frontend library
#   gpa:COMMAND   as user, with GPA_ADDRESSES negotiated
#   vdpa:COMMAND  the same, with the vDPA device $UVHOST_DEV (see vdpa.sh)
#   sh:COMMAND    a script: passes with 0, is skipped with 77 (its last line
#                 that begins with SKIP: says why), fails with anything else;
#                 each such line of one that passes is a part that was skipped
#   alone:COMMAND as sh, and no other test runs at the same time
#
# $UVHOST_JOBS tests run at the same time (1). They start in the order of the
# command line, and each is printed as a whole when it has ended. A script may take
# $UVHOST_LIMIT seconds (600), which it finds there.
#
# $UVHOST_NAME stands in front of each line ("6.1: "). $UVHOST_TOTAL names a
# file to which "PASSED FAILED SKIPPED" is appended instead of a total line, and
# with ".failed" behind it one for what failed: "= NAME", and how its output
# ended; with ".skipped" one for what was skipped: "NAME: REASON", which stands
# before the total line elsewhere. What a test prints is shown if it fails, or
# if V=1.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/system/prelude.sh"
# shellcheck source=tests/system/vm-lib.sh
. "$uv_here/vm-lib.sh"

export UVHOST_LIMIT="${UVHOST_LIMIT:-600}"
name=${UVHOST_NAME-}
jobs=${UVHOST_JOBS:-1}
uv_need_tmp
if [ "$jobs" -gt 1 ]; then
	# On a real /dev/cuse all scripts make a device of the same name.
	modprobe -q cuse 2>/dev/null
	[ ! -e /dev/cuse ] || jobs=1
	export UV_SLOW=$((UV_SLOW * jobs))
	# uvbench takes what is free, be it reserved for a test beside it.
	huge_pages_add 200
	uv_at_exit huge_pages_back
fi

# ---- one test ---------------------------------------------------------------
#
# It runs in a subshell, whose output is what is shown of it. Its folder $dir gets
# the files: out, what the test printed; counts, "PASSED FAILED SKIPPED"; failed and
# skipped, what $UVHOST_TOTAL's files of these names want of it.

# run_command SECONDS COMMAND...: 0 seconds have no end. When we are told to end, the
# command and all that it started end first.
run_command()
{
	timeout -k 30 "$@" >"$dir/out" 2>&1 </dev/null &
	# shellcheck disable=SC2064 # this process
	trap "kill $!; wait $!; exit 143" TERM
	wait $!
}

show()
{
	sed 's/^/    /' "$dir/out"
}

# Keeps the end of what a failed test said, for the total.
remember()
{
	{
		echo "= $name$label"
		grep -nE '^not ok' "$dir/out" | grep -v '# SKIP'
		tail -n 25 "$dir/out"
	} >"$dir/failed"
}

# remember_skips REASON-LINES: each reason of this test once
remember_skips()
{
	sort -u | sed "s|^|$name$label: |" >"$dir/skipped"
}

count()
{
	grep -cE "$1" "$dir/out"
}

# TAP: "ok 1 - name", "not ok 2 - name", "ok 3 # SKIP name" (cmocka 1.1.5 says
# "not ok 3 # SKIP"). A program that dies without a "not ok" failed as a whole;
# one that cannot begin exits with 77.
run_tap()
{
	local status ok bad skip start=$SECONDS

	CMOCKA_MESSAGE_OUTPUT=TAP run_command 0 "$@"
	status=$?
	skip=$(count '^(not )?ok [0-9]+ .*# SKIP')
	ok=$(($(count '^ok ') - $(count '^ok [0-9]+ .*# SKIP')))
	bad=$(($(count '^not ok ') - $(count '^not ok [0-9]+ .*# SKIP')))
	if [ $status -eq 77 ] && [ $((ok + bad + skip)) -eq 0 ]; then
		skip=1
	elif [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
	fi
	echo "$ok $bad $skip" >"$dir/counts"
	printf '%s%-44s %3d passed, %d failed, %d skipped (%d s)\n' "$name" \
		"$label" "$ok" "$bad" "$skip" $((SECONDS - start))
	[ "$bad" -eq 0 ] || remember
	if [ "$bad" -gt 0 ] || [ "${V-}" = 1 ]; then
		[ $status -eq 0 ] || echo "    exit status $status"
		show
	elif [ "$skip" -gt 0 ]; then
		grep -iE 'skip' "$dir/out" | sed 's/^/    /'
	fi
	[ "$skip" -eq 0 ] || skip_reasons | remember_skips
}

# What tests say (skip_because, a program's "SKIP:"), or their names.
skip_reasons()
{
	if ! sed -nE 's/^#? *(skip|SKIP): *//p' "$dir/out" | grep .; then
		sed -nE 's/^(not )?ok [0-9]+ -? *([^#]*)# SKIP *(.*)/\2\3/p' \
			"$dir/out"
	fi
}

run_sh()
{
	local status parts start=$SECONDS verdict counts why=''

	run_command "$UVHOST_LIMIT" "$@"
	status=$?
	parts=0
	[ $status -ne 0 ] || parts=$(count '^SKIP: ')
	case $status in
	0) verdict=passed counts="1 0 $parts" ;;
	77) verdict=skipped counts="0 0 1" ;;
	*) verdict="FAILED ($status)" counts="0 1 0"; remember ;;
	esac
	echo "$counts" >"$dir/counts"
	[ "$parts" -eq 0 ] || verdict="$verdict, $parts skipped"
	printf '%s%-44s %s (%d s)\n' "$name" "$label" "$verdict" \
		$((SECONDS - start))
	if [ $status -eq 77 ]; then
		why=$(sed -n 's/^SKIP: //p' "$dir/out" | tail -n 1)
		: "${why:=(no reason given)}"
	elif [ "$parts" -gt 0 ]; then
		why=$(sed -n 's/^SKIP: //p' "$dir/out")
	fi
	if [ -n "$why" ]; then
		# shellcheck disable=SC2001 # several lines
		sed 's/^/    /' <<<"$why"
		remember_skips <<<"$why"
	elif [ $status -ne 0 ] || [ "${V-}" = 1 ]; then
		show
	fi
}

# run_test KIND:COMMAND
run_test()
{
	local command label

	# shellcheck disable=SC2206 # a command line
	command=(${1#*:})
	label=${command[*]##*/}
	# shellcheck disable=SC2086 # a command line
	case $1 in
	tap:*) run_tap "${command[@]}" ;;
	dev:*) run_tap ${UVHOST_WRAP-} "${command[@]}" ;;
	broker:*)
		label="$label (broker)"
		UVHOST_DEV=/dev/uvhost-broker \
			UVHOST_DEV_PACKED=/dev/uvhost-broker-packed \
			run_tap ${UVHOST_WRAP-} "${command[@]}"
		;;
	user:* | inproc:* | vdpa:*)
		label="$label (${1%%:*})"
		UVHOST_TRANSPORT=${1%%:*} run_tap "${command[@]}"
		;;
	gpa:*)
		label="$label (gpa)"
		UVHOST_TRANSPORT=user UVHOST_GPA=1 run_tap "${command[@]}"
		;;
	sh:* | alone:*) run_sh "${command[@]}" ;;
	esac
}

# ---- all of them ------------------------------------------------------------

passed=0 failed=0 skipped=0
total=$uv_tmp/total # or the caller's
declare -A folder=() # of each test that runs, by its process

stop()
{
	trap '' INT TERM HUP
	[ ${#folder[@]} -eq 0 ] || kill "${!folder[@]}" 2>/dev/null
	wait
	exit "$1"
}
trap 'stop 130' INT
trap 'stop 143' TERM HUP

# start KIND:COMMAND
start()
{
	local dir

	dir=$(mktemp -d "$uv_tmp/XXXXXX") || exit 1
	run_test "$1" >"$dir/shown" 2>&1 &
	folder[$!]=$dir
}

# Waits for one of the tests to end, prints and counts it.
finish()
{
	local pid dir p=0 f=1 s=0

	wait -n -p pid "${!folder[@]}"
	dir=${folder[$pid]}
	unset "folder[$pid]"
	cat "$dir/shown"
	# run_test itself has died if they are not there
	[ ! -e "$dir/counts" ] || read -r p f s <"$dir/counts"
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	[ ! -e "$dir/failed" ] || cat "$dir/failed" >>"$total.failed"
	[ ! -e "$dir/skipped" ] || cat "$dir/skipped" >>"$total.skipped"
	rm -rf "$dir"
}

# leave_only N: waits until only so many run
leave_only()
{
	while [ ${#folder[@]} -gt "$1" ]; do
		finish
	done
}

for test; do
	case $test in
	tap:* | dev:* | broker:* | user:* | inproc:* | gpa:* | vdpa:* | sh:* | alone:*) ;;
	*)
		echo "run.sh: what is $test?" >&2
		exit 2
		;;
	esac
done
[ -z "${UVHOST_TOTAL-}" ] || total=$UVHOST_TOTAL
for test; do
	case $test in
	alone:*)
		leave_only 0
		start "$test"
		leave_only 0
		;;
	*)
		leave_only $((jobs - 1))
		start "$test"
		;;
	esac
done
leave_only 0

if [ -n "${UVHOST_TOTAL-}" ]; then
	echo "$passed $failed $skipped" >>"$total"
else
	[ ! -s "$total.skipped" ] ||
		{ echo "skipped:"; sed 's/^/  /' "$total.skipped"; }
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ $failed -eq 0 ]
