#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# readme-names.sh FILE - checks the names in FILE (README.md): each path in
# backticks exists, and each `function()` is in a file that the same line names,
# or, in a line without files, anywhere in the product.

set -u
bad=0
doc=$1

fail()
{
	echo "$doc:$1: $2"
	bad=1
}

# check_path LINE WORD: adds what WORD stands for to the array "files".
check_path()
{
	local found

	case $2 in
	*NAME*) return ;;
	cuse/* | vhost/* | net/* | include/* | tests/* | udev/*)
		found=$(compgen -G "$2")
		folder=${2%/*}
		;;
	*.c | *.h)
		found=$(compgen -G "$folder/$2")
		;;
	*) return ;;
	esac
	if [ -z "$found" ]; then
		fail "$1" "there is no $2"
	else
		mapfile -t -O "${#files[@]}" files <<<"$found"
	fi
}

check_line()
{
	local words word functions=() files=() folder=.

	mapfile -t words < <(grep -o '`[^` ]*`' <<<"$2" | tr -d '`')
	for word in "${words[@]}"; do
		case $word in
		*'()') functions+=("${word%()}") ;;
		*) check_path "$1" "$word" ;;
		esac
	done
	[ ${#files[@]} -gt 0 ] || files=(cuse vhost net include)
	for word in "${functions[@]}"; do
		grep -rqw -- "$word" "${files[@]}" ||
			fail "$1" "$word() is not in ${files[*]}"
	done
}

n=0
while IFS= read -r line; do
	n=$((n + 1))
	case $line in
	*'`'*) check_line "$n" "$line" ;;
	esac
done <"$1"
exit $bad
