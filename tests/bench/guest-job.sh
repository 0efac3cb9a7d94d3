# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
#
# guest-job.sh - what a guest of `make bench-vm` does (guest-init.sh runs it):
# it obeys sc_vmguest.c, which measures.

# There are pauses between the transfers, and they are not to slow them down.
echo 0 >/proc/sys/net/ipv4/tcp_slow_start_after_idle
# shellcheck disable=SC2154 # guest-init.sh's
wait_peer && bulk "$uv_peer" 5002
