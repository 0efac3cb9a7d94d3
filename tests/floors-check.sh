#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# floors-check.sh "FOLDER..." "HEADER..." FILE... - folders see little of each other
#
# A file includes the headers of include/, those of its own folder, and with their
# path those HEADERs that belong to a folder before its own in the list. A HEADER
# that no other folder includes fails too.

set -euo pipefail

folders=$1 headers=$2
shift 2
awk -v folders="$folders" -v headers="$headers" '
function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
BEGIN {
	n = split(folders, f, " ")
	for (i = 1; i <= n; i++) floor[f[i]] = i
	n = split(headers, h, " ")
	for (i = 1; i <= n; i++) listed[h[i]] = 1
}
/^#include "[^"]*\// && !/"uvhost\// {
	split($0, part, "\"")
	path = part[2]
	from = floor[folder(FILENAME)]
	to = floor[folder(path)]
	if (!(path in listed))
		bad = bad FILENAME ": " path " is not in the list CROSSING\n"
	else if (!from || !to || to >= from)
		bad = bad FILENAME ": " path " is of no floor below\n"
	used[path] = 1
}
END {
	for (p in listed)
		if (!(p in used)) bad = bad p ": no other folder includes it\n"
	printf "%s", bad
	exit bad != ""
}' "$@"
