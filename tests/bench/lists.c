/* SPDX-License-Identifier: BSD-3-Clause */
/* lists.c has empty lists for families of scenarios whose sc_*.c is not there
 * yet. */
#include "bench.h"

#define EMPTY(name) \
	__attribute__((weak)) const struct scenario name[] = { { 0 } }

EMPTY(scenarios_ring);
EMPTY(scenarios_guests);
EMPTY(scenarios_copy);
EMPTY(scenarios_port);
EMPTY(scenarios_table);
EMPTY(scenarios_roundtrip);
EMPTY(scenarios_control);
EMPTY(scenarios_sessions);
EMPTY(scenarios_offload);
EMPTY(scenarios_switch);
