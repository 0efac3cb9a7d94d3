# SPDX-License-Identifier: BSD-3-Clause
#
# flows-table.awk - what flows.sh measured, for people. In: PATH KEY VALUE,
# separated by tabs; path 0 is the machine.

BEGIN { FS = "\t" }

{ v[$1, $2] = $3 }
$1 > last { last = $1 }

function field(n, key, i,    f)
{
	if (split(v[n, key], f, " ") < i)
		return "-"
	return f[i]
}

# What was not measured has no value.
function one(n, key)
{
	return v[n, key] == "" ? "-" : v[n, key]
}

function label(n,    f)
{
	split(v[n, "name"], f, "|")
	return sprintf("%d %s, %s", n, f[1], f[2])
}

# Why there are no numbers, or "".
function missing(n)
{
	if (v[n, "status"] == "ran")
		return ""
	return v[n, "why"] ? v[n, "why"] : "FAILED"
}

function bulk(way,    n, line)
{
	line = "%-38s %7s  %6s %6s %6s %6s %6s %9s  %6s %6s  %6s %6s %6s\n"
	printf line, "", "", "CPU s", "per GB", "", "kernel", "", "of it in", \
		"calls", "/frame", "copied", "B/B", "by"
	printf line, "", "Mbit/s", "guest", "QEMU", "daemon", "thrds", "all", \
		"kernel", "QEMU", "daemon", "QEMU", "daemon", "net"
	for (n = 1; n <= last; n++) {
		if (!((n, "name") in v))
			continue
		if (missing(n) != "") {
			printf "%-38s %s\n", label(n), missing(n)
			continue
		}
		printf line, label(n), v[n, way "_mbit"], \
			field(n, way "_cpu", 1), field(n, way "_cpu", 2), \
			field(n, way "_cpu", 3), field(n, way "_cpu", 4), \
			sprintf("%.2f", field(n, way "_cpu", 1) + \
				field(n, way "_cpu", 2) + \
				field(n, way "_cpu", 3) + \
				field(n, way "_cpu", 4)), \
			field(n, way "_cpu", 5), \
			one(n, way "_calls_vmm"), one(n, way "_calls_daemon"), \
			one(n, way "_copies_vmm"), one(n, way "_copies_daemon"), \
			one(n, way "_copies_network")
	}
}

function trips(    n)
{
	printf "%-38s %20s  %20s\n", "", "App1 asks", "the peer asks"
	printf "%-38s %10s %9s  %10s %9s  %s\n", "round trips, us", "median", \
		"p99", "median", "p99", "exchanges (lost)"
	for (n = 1; n <= last; n++) {
		if (!((n, "name") in v))
			continue
		if (missing(n) != "") {
			printf "%-38s %s\n", label(n), missing(n)
			continue
		}
		printf "%-38s %10s %9s  %10s %9s  %s (%s), %s (%s)\n", label(n), \
			field(n, "up_rtt", 1), field(n, "up_rtt", 2), \
			field(n, "down_rtt", 1), field(n, "down_rtt", 2), \
			field(n, "up_rtt", 3), field(n, "up_rtt", 4), \
			field(n, "down_rtt", 3), field(n, "down_rtt", 4)
	}
}

END {
	printf "Linux %s, QEMU %s (%s), %s processors\n", v[0, "kernel"], \
		v[0, "qemu"], v[0, "accel"], v[0, "cpus"]
	print "\nTransmission from App1: bulk to the peer, sha256 equal"
	bulk("up")
	print "\nCommunication between host and VM: bulk to App1, sha256 equal"
	bulk("down")
	print ""
	trips()
	print "\nHow:"
	print "  peer      behind veths, offloads off (ethtool -K tx tso gso gro off):"
	print "            pcap takes and gives frames as on a wire"
	print "  CPU       of the timed transfer, /proc/PID/task/*/schedstat. guest: QEMU's"
	print "            processor threads, device emulation in them included; QEMU: its"
	print "            other threads; kernel thrds: ksoftirqd, and vhost's worker (which"
	print "            is a thread of QEMU's since Linux 6.4). Of all that in the kernel:"
	print "            system time, in ticks. The peer's is not in it, but for what its"
	print "            end of the veth and of TCP do within the daemon's send."
	if (v[0, "tool"] == "perf")
		print "  calls     perf stat -e raw_syscalls:sys_enter, in a pass of its own,"
	else
		print "  calls     strace -f -c, in a pass of its own,"
	print "            by the frames that passed the daemon's veth, both ways"
	if (v[4, "cuse"] == "user")
		print "  path 4    on the user-space CUSE host: there is no /dev/cuse here"
	print "  copied    bytes that read, write, send and recv calls returned"
	print "            (strace -f, a pass of its own), by the bytes of those frames; net:"
	print "            within the daemon, from the counters of its network (SIGUSR1):"
	print "            what is for a guest once, and to and from mapped memory once."
	print "            Not seen: memcpy within QEMU, kernel vhost-net's copies between"
	print "            guest and tap, the kernel's copy into libpcap's ring."
}
