#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# run.sh - runs tests one after another and counts.
#
#   run.sh KIND:COMMAND...
#
#   tap:COMMAND   prints TAP (a cmocka program, a corpus replay)
#   dev:COMMAND   the same, but needs the device: run under $UVHOST_WRAP
#   user:COMMAND, inproc:COMMAND
#                 the same, with a device of its own, behind that transport of
#                 the frontend library
#   gpa:COMMAND   as user, with GPA_ADDRESSES negotiated
#   vdpa:COMMAND  the same, with the vDPA device $UVHOST_DEV (see vdpa.sh)
#   sh:COMMAND    a script: passes with 0, is skipped with 77 (its last line
#                 that begins with SKIP: says why), fails with anything else;
#                 each such line of one that passes is a part that was skipped
#
# A script may take $UVHOST_LIMIT seconds (600).
#
# $UVHOST_NAME stands in front of each line ("6.1: "). $UVHOST_TOTAL names a
# file to which "PASSED FAILED SKIPPED" is appended instead of a total line, and
# with ".failed" behind it one for what failed: "= NAME", and how its output
# ended; with ".skipped" one for what was skipped: "NAME: REASON", which stands
# before the total line elsewhere. What a test prints is shown if it fails, or
# if V=1.

# shellcheck source=tests/system/prelude.sh
. "$(dirname "$0")/system/prelude.sh"

passed=0 failed=0 skipped=0
name=${UVHOST_NAME-}
uv_need_tmp
out=$uv_tmp/out reasons=$uv_tmp/reasons
: >"$reasons"

show()
{
	sed 's/^/    /' "$out"
}

# Keeps the end of what a failed test said, for the total.
remember()
{
	[ -z "${UVHOST_TOTAL-}" ] || {
		echo "= $name$label"
		grep -nE '^not ok' "$out" | grep -v '# SKIP'
		tail -n 25 "$out"
	} >>"$UVHOST_TOTAL.failed"
}

# remember_skips REASON-LINES: each reason of this test once
remember_skips()
{
	sort -u | sed "s|^|$name$label: |" >>"$reasons"
}

count()
{
	grep -cE "$1" "$out"
}

# TAP: "ok 1 - name", "not ok 2 - name", "ok 3 # SKIP name" (cmocka 1.1.5 says
# "not ok 3 # SKIP"). A program that dies without a "not ok" failed as a whole;
# one that cannot begin exits with 77.
run_tap()
{
	local status ok bad skip

	CMOCKA_MESSAGE_OUTPUT=TAP "$@" >"$out" 2>&1 </dev/null
	status=$?
	skip=$(count '^(not )?ok [0-9]+ .*# SKIP')
	ok=$(($(count '^ok ') - $(count '^ok [0-9]+ .*# SKIP')))
	bad=$(($(count '^not ok ') - $(count '^not ok [0-9]+ .*# SKIP')))
	if [ $status -eq 77 ] && [ $((ok + bad + skip)) -eq 0 ]; then
		skip=1
	elif [ $status -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
	fi
	passed=$((passed + ok)) failed=$((failed + bad))
	skipped=$((skipped + skip))
	printf '%s%-44s %3d passed, %d failed, %d skipped\n' "$name" "$label" \
		"$ok" "$bad" "$skip"
	[ "$bad" -eq 0 ] || remember
	if [ "$bad" -gt 0 ] || [ "${V-}" = 1 ]; then
		[ $status -eq 0 ] || echo "    exit status $status"
		show
	elif [ "$skip" -gt 0 ]; then
		grep -iE 'skip' "$out" | sed 's/^/    /'
	fi
	[ "$skip" -eq 0 ] || skip_reasons | remember_skips
}

# What tests say (skip_because, a program's "SKIP:"), or their names.
skip_reasons()
{
	if ! sed -nE 's/^#? *(skip|SKIP): *//p' "$out" | grep .; then
		sed -nE 's/^(not )?ok [0-9]+ -? *([^#]*)# SKIP *(.*)/\2\3/p' "$out"
	fi
}

run_sh()
{
	local status parts start=$SECONDS verdict why=''

	timeout -k 30 "${UVHOST_LIMIT:-600}" "$@" >"$out" 2>&1 </dev/null
	status=$?
	parts=0
	[ $status -ne 0 ] || parts=$(count '^SKIP: ')
	case $status in
	0) passed=$((passed + 1)) verdict=passed ;;
	77) skipped=$((skipped + 1)) verdict="skipped" ;;
	*) failed=$((failed + 1)) verdict="FAILED ($status)"; remember ;;
	esac
	skipped=$((skipped + parts))
	[ "$parts" -eq 0 ] || verdict="$verdict, $parts skipped"
	printf '%s%-44s %s (%d s)\n' "$name" "$label" "$verdict" \
		$((SECONDS - start))
	if [ $status -eq 77 ]; then
		why=$(sed -n 's/^SKIP: //p' "$out" | tail -n 1)
		: "${why:=(no reason given)}"
	elif [ "$parts" -gt 0 ]; then
		why=$(sed -n 's/^SKIP: //p' "$out")
	fi
	if [ -n "$why" ]; then
		# shellcheck disable=SC2001 # several lines
		sed 's/^/    /' <<<"$why"
		remember_skips <<<"$why"
	elif [ $status -ne 0 ] || [ "${V-}" = 1 ]; then
		show
	fi
}

for test; do
	# shellcheck disable=SC2206 # a command line
	command=(${test#*:})
	label=${command[*]##*/}
	# shellcheck disable=SC2086 # a command line
	case $test in
	tap:*) run_tap "${command[@]}" ;;
	dev:*) run_tap ${UVHOST_WRAP-} "${command[@]}" ;;
	user:* | inproc:* | vdpa:*)
		label="$label (${test%%:*})"
		UVHOST_TRANSPORT=${test%%:*} run_tap "${command[@]}"
		;;
	gpa:*)
		label="$label (gpa)"
		UVHOST_TRANSPORT=user UVHOST_GPA=1 run_tap "${command[@]}"
		;;
	sh:*) run_sh "${command[@]}" ;;
	*)
		echo "run.sh: what is $test?" >&2
		exit 2
		;;
	esac
done

if [ -n "${UVHOST_TOTAL-}" ]; then
	echo "$passed $failed $skipped" >>"$UVHOST_TOTAL"
	cat "$reasons" >>"$UVHOST_TOTAL.skipped"
else
	[ ! -s "$reasons" ] || { echo "skipped:"; sed 's/^/  /' "$reasons"; }
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ $failed -eq 0 ]
