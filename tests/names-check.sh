#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# names-check.sh FILE... - each name of a function or struct has one meaning
#
# Lists every function and every struct, union or enum that is defined in two
# of the files, unless tests/names-allowed has it. A name in that list which is
# not defined twice any more fails too. Files are formatted by clang-format: a
# definition starts in the first column, and a function's '{' stands alone.

set -euo pipefail
export LC_ALL=C

allowed=$(dirname "$0")/names-allowed

# KIND NAME FILE, a line for each definition
definitions()
{
	awk '
	FNR == 1 { name = "" }
	/^(struct|union|enum) [a-z0-9_]+ \{/ { print "type", $2, FILENAME }
	/^\{$/ && name != "" { print "function", name, FILENAME }
	/^[a-z].*\(/ && !/[;=]/ {
		name = $0
		sub(/^.*__attribute__\(\([^)]*\)+ */, "", name)
		sub(/\(.*/, "", name)
		sub(/.*[ *]/, "", name)
	}
	/[;}]$/ { name = "" }
	' "$@"
}

twice=$(definitions "$@" | sort -u |
	awk '{ n[$1 " " $2]++; in_files[$1 " " $2] = in_files[$1 " " $2] " " $3 }
	     END { for (k in n) if (n[k] > 1) print k ":" in_files[k] }' | sort)
status=0

while IFS=: read -r what files; do
	[ -n "$what" ] || continue
	grep -q "^$what  " "$allowed" && continue
	echo "$what is defined in$files"
	status=1
done <<<"$twice"

while read -r kind name _; do
	grep -q "^$kind $name:" <<<"$twice" || {
		echo "$allowed: $kind $name is not defined twice"
		status=1
	}
done < <(grep -E '^(function|type) ' "$allowed")
exit $status
