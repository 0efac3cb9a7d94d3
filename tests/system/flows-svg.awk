# SPDX-License-Identifier: BSD-3-Clause
#
# flows-svg.awk - the five paths as a picture, with what flows.sh measured on
# them. In: PATH KEY VALUE, separated by tabs; path 0 is the machine.

BEGIN {
	FS = "\t"
	width = 1240
	row = 184
	top = 96
	to = "&#8594; " # from App1
	from = "&#8592; "
}

{ v[$1, $2] = $3 }
$2 == "name" { height += row }

function field(n, key, i,    f)
{
	return split(v[n, key], f, " ") < i ? "-" : f[i]
}

function xml(s)
{
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	gsub(/>/, "\\&gt;", s)
	return s
}

# @s is markup already
function text(x, y, class, s)
{
	printf "<text x=\"%d\" y=\"%d\" class=\"%s\">%s</text>\n", x, y, class, s
}

function box(x, y, w, h, class)
{
	printf "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\"" \
		" class=\"%s\"/>\n", x, y, w, h, class
}

# A box with two lines of title
function part(x, y, w, h, class, one, two)
{
	box(x, y, w, h, class)
	text(x + w / 2, y + 20, "title", xml(one))
	text(x + w / 2, y + 36, "small", xml(two))
}

function arrow(x, y, x2, label)
{
	printf "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" class=\"wire\"/>\n", \
		x + 5, y, x2 - 5, y
	text((x + x2) / 2, y - 7, "tiny", xml(label))
}

# What a process needed, a line for each way
function cost(x, y, n, i, who)
{
	text(x, y, "number", to cost_of(n, "up", i, who))
	text(x, y + 15, "number", from cost_of(n, "down", i, who))
}

function cost_of(n, way, i, who)
{
	return field(n, way "_cpu", i) " s/GB, " v[n, way "_calls_" who] \
		" calls, " v[n, way "_copies_" who] (who == "daemon" ? \
			" + " v[n, way "_copies_network"] : "") " copied"
}

function draw_boxes(n, y,    b)
{
	b = y + 22
	box(12, y, n <= 2 ? 592 : 346, 140, "process")
	text(20, y + 14, "who", "QEMU")
	box(n <= 3 ? 648 : 398, y, n <= 3 ? 348 : 598, 140, "process")
	text(n <= 3 ? 656 : 406, y + 14, "who", "uvhostd")
	part(24, b, 130, 52, "guest", "App1", "in the guest")
	part(214, b, 130, 52, "guest", name[1], "guest NIC")
	arrow(154, b + 26, 214, "driver")
	if (n <= 2) {
		part(410, b, 180, 52, "vmm", "QEMU", \
			n == 1 ? "device model, no virtqueue" : "serves the virtqueues")
		arrow(344, b + 26, 410, n == 1 ? "registers" : "virtqueues")
		arrow(590, b + 26, 660, "unix socket")
	} else if (n == 3) {
		part(410, b, 180, 52, "kernel", "kernel vhost-net", \
			"serves the virtqueues")
		arrow(344, b + 26, 410, "virtqueues")
		arrow(590, b + 26, 660, "tap")
	} else {
		part(410, b, 180, 52, "daemon", \
			n == 4 ? "/dev/uvhost-net" : "vhost-user backend", \
			n == 4 ? "CUSE; serves the virtqueues" : "serves the virtqueues")
		arrow(344, b + 26, 410, "virtqueues")
		arrow(590, b + 26, 660, "")
	}
	part(660, b, 130, 52, "daemon", "network", "switch of two ports")
	part(854, b, 130, 52, "daemon", "pcap", "on veth0")
	arrow(790, b + 26, 854, "frames")
	part(1062, b, 160, 52, "peer", "peer", "veth1, own namespace")
	arrow(984, b + 26, 1062, "veth")
}

function draw_numbers(n, y,    x)
{
	x = n <= 3 ? 660 : 410
	text(24, y + 94, "number", "guest CPU")
	text(24, y + 109, "number", to field(n, "up_cpu", 1) " s/GB")
	text(24, y + 124, "number", from field(n, "down_cpu", 1) " s/GB")
	text(n <= 2 ? 360 : 134, y + 94, "number", \
		"QEMU's other threads")
	cost(n <= 2 ? 360 : 134, y + 109, n, 2, "vmm")
	text(x, y + 94, "number", "daemon")
	cost(x, y + 109, n, 3, "daemon")
	text(1062, y + 94, "number", to v[n, "up_mbit"] " Mbit/s")
	text(1062, y + 109, "number", from v[n, "down_mbit"] " Mbit/s")
	text(1062, y + 130, "number", "round trip, median/p99")
	text(1062, y + 145, "number", "App1 asks " field(n, "up_rtt", 1) "/" \
		field(n, "up_rtt", 2) " us")
	text(1062, y + 160, "number", "peer asks " field(n, "down_rtt", 1) "/" \
		field(n, "down_rtt", 2) " us")
	if (n == 3)
		text(410, y + 109, "number", "kernel threads " to \
			field(n, "up_cpu", 4) " " from \
			field(n, "down_cpu", 4) " s/GB")
}

END {
	printf "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\"" \
		" width=\"%d\" height=\"%d\">\n", width, top + height, \
		width, top + height
	print "<style>"
	print "text { font-family: sans-serif; font-size: 12px; fill: #222 }"
	print ".head { font-size: 20px; font-weight: bold }"
	print ".path { font-size: 14px; font-weight: bold }"
	print ".title { font-weight: bold; text-anchor: middle }"
	print ".small { font-size: 11px; text-anchor: middle }"
	print ".tiny { font-size: 10px; text-anchor: middle; fill: #555 }"
	print ".who { font-size: 11px; fill: #555 }"
	print ".process { fill: #fafafa; stroke: #999; stroke-dasharray: 4 3 }"
	print ".guest { fill: #d9e8fb; stroke: #3b6ea8 }"
	print ".vmm { fill: #e6e0f3; stroke: #6a4fa3 }"
	print ".kernel { fill: #f7dcdc; stroke: #a84242 }"
	print ".daemon { fill: #dcf1dc; stroke: #3d8b3d }"
	print ".peer { fill: #fbeed3; stroke: #b0842b }"
	print ".wire { stroke: #444; stroke-width: 1.5;" \
		" marker-start: url(#tip); marker-end: url(#tip) }"
	print "</style>"
	print "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\"" \
		" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto-start-reverse\">" \
		"<path d=\"M0 0 L8 4 L0 8 z\" fill=\"#444\"/></marker></defs>"
	printf "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", width, \
		top + height
	text(12, 30, "head", "Five paths between App1 in a guest and a peer")
	text(12, 52, "number", xml("Linux " v[0, "kernel"] ", QEMU " \
		v[0, "qemu"] " (" v[0, "accel"] "), " v[0, "cpus"] \
		" processors. ") to "transmission from App1, " from \
		"to App1; sha256 equal both ways.")
	text(12, 70, "number", "Per path: CPU seconds per gigabyte, system calls" \
		" per frame, bytes copied by them per byte of frame (+ by the" \
		" daemon's network).")
	for (n = 1; n <= 5; n++) {
		if (!((n, "name") in v))
			continue
		y = top + shown++ * row
		split(v[n, "name"], name, "|")
		text(12, y + 12, "path", n ". " \
			xml(name[1] ", " name[2] ", pcap"))
		draw_boxes(n, y + 20)
		if (v[n, "status"] == "ran")
			draw_numbers(n, y + 20)
		else
			text(24, y + 124, "path", xml(v[n, "why"] ? \
				"not run: " v[n, "why"] : "FAILED"))
	}
	print "</svg>"
}
