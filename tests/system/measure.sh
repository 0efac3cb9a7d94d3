# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
#
# measure.sh - what a transfer costs the processes that carry it. Source it
# after vm-lib.sh.
#
#   measure_cpu PIDS...         CPU time in ns, summed: "VCPU OTHER WORKER KERNEL":
#                               of threads with guest code in them, of others,
#                               of vhost's workers, and how much of all that was
#                               spent in the kernel
#   measure_kernel_threads VMM  pids of kernel threads that work for the network
#   measure_frames IF           "FRAMES BYTES" that have passed IF, both ways
#   measure_calls_start NAME PID, measure_calls_stop NAME
#                               system calls of PID and its threads
#   measure_copies_start NAME PID, measure_copies_stop NAME
#                               bytes that system calls of PID copied
#
# NAME is a word for files below $uv_tmp. The two pairs disturb what they look
# at: use them in passes of their own. stop leaves a number in measure_result,
# or ? if the tool could not look.

# Calls that copy between a process and the kernel or another process.
measure_copying=read,readv,pread64,preadv,preadv2,recvfrom,recvmsg,recvmmsg
measure_copying+=,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg

measure_ticks=$(getconf CLK_TCK)

# perf counts in the kernel; strace stops the process at each call.
measure_tool()
{
	if [ -n "${measure__tool-}" ]; then
		echo "$measure__tool"
	elif perf stat -e raw_syscalls:sys_enter true >/dev/null 2>&1; then
		echo perf
	elif command -v strace >/dev/null; then
		echo strace
	else
		echo none
	fi
}

# Thread by thread: what QEMU runs guests in is told apart by the names that it
# gives (-name debug-threads=on). schedstat is exact, what of it was spent in
# the kernel is known in ticks.
measure_cpu()
{
	local pid task ns

	for pid; do
		for task in "/proc/$pid/task/"*; do
			read -r ns _ 2>/dev/null <"$task/schedstat" &&
				echo "$ns $(cat "$task/stat" 2>/dev/null)"
		done
	done | awk -v hz="$measure_ticks" '{
		ns = $1
		match($0, /\(.*\) /)
		name = substr($0, RSTART + 1, RLENGTH - 3)
		split(substr($0, RSTART + RLENGTH), f, " ")
		if (name ~ /^CPU [0-9]+\//)
			vcpu += ns
		else if (name ~ /^vhost-/)
			worker += ns
		else
			other += ns
		kernel += f[13] / hz * 1e9
	} END { printf "%.0f %.0f %.0f %.0f\n", vcpu, other, worker, kernel }'
}

# Up to Linux 6.3 the worker of vhost-net is one, named for its owner; later it
# is a thread of the owner.
measure_kernel_threads()
{
	local dir name

	for dir in /proc/[0-9]*; do
		read -r name 2>/dev/null <"$dir/comm" || continue
		case $name in
		ksoftirqd/* | "vhost-$1") echo "${dir#/proc/}" ;;
		esac
	done
}

measure_frames()
{
	awk -v name="$1:" '$1 == name { print $3 + $11, $2 + $10 }' /proc/net/dev
}

# measure__attached HOW PID TRACER
measure__attached()
{
	case $1 in
	perf)
		find "/proc/$3/fd" -lname '*perf_event*' 2>/dev/null |
			grep -q .
		;;
	strace)
		! grep -L "^TracerPid:[[:space:]]*$3$" \
			"/proc/$2/task/"*/status 2>/dev/null | grep -q .
		;;
	esac || ! kill -0 "$3" 2>/dev/null
}

# measure__start HOW NAME PID COMMAND...: a tool that looks at PID
measure__start()
{
	local how=$1 name=$2 pid=$3
	shift 3

	"$@" >/dev/null 2>"$uv_tmp/$name.err" &
	echo $! >"$uv_tmp/$name.tool"
	uv_wait 5 measure__attached "$how" "$pid" $! || return 1
	kill -0 "$(cat "$uv_tmp/$name.tool")" 2>/dev/null
}

measure__stop()
{
	local tool

	tool=$(cat "$uv_tmp/$1.tool") || return 1
	rm -f "$uv_tmp/$1.tool"
	kill -INT "$tool" 2>/dev/null
	wait "$tool" 2>/dev/null
	return 0
}

# For a trap: whatever still looks.
measure_end()
{
	local file

	for file in "${uv_tmp:-/nonexistent}"/*.tool; do
		[ ! -e "$file" ] || measure__stop "$(basename "$file" .tool)"
	done
}

measure_calls_start()
{
	case $(measure_tool) in
	perf)
		measure__start perf "$1" "$2" perf stat -x, \
			-e raw_syscalls:sys_enter -o "$uv_tmp/$1" -p "$2"
		;;
	strace)
		measure__start strace "$1" "$2" strace -f -c \
			-o "$uv_tmp/$1" -p "$2"
		;;
	esac
}

measure_calls_stop()
{
	measure_result='?'
	[ -e "$uv_tmp/$1.tool" ] || return 0
	measure__stop "$1"
	measure_result=$(awk -F, '/raw_syscalls/ { n = $1 ~ /not counted/ ? 0 : $1 } # it never ran
		/ total$/ { split($0, f, " "); n = f[4] }
		END { print n ~ /^[0-9]+$/ ? n : "?" }' "$uv_tmp/$1")
}

# The many messages of one recvmmsg have their lengths in the argument: all of
# it is wanted, and nothing of the data.
measure_copies_start()
{
	command -v strace >/dev/null || return 0
	measure__start strace "$1" "$2" strace -f -qq -s 1 -e abbrev=none \
		-e signal=none \
		-e "trace=$measure_copying" -o "$uv_tmp/$1" -p "$2"
}

measure_copies_stop()
{
	measure_result='?'
	[ -e "$uv_tmp/$1.tool" ] || return 0
	measure__stop "$1"
	measure_result=$(awk '
	/mmsg/ {
		while (match($0, /msg_len=[0-9]+/)) {
			sum += substr($0, RSTART + 8, RLENGTH - 8)
			$0 = substr($0, RSTART + RLENGTH)
		}
		next
	}
	/ = [0-9]+$/ { sum += $NF }
	END { print sum + 0 }' "$uv_tmp/$1")
}
