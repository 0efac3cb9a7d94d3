/* SPDX-License-Identifier: BSD-3-Clause */
/* One test in several modes of the arena (drv.h). */
#ifndef MODES_H
#define MODES_H

/* A test with the fixture FIX_setup_MODE(), and its mode behind its name; the
 * header of the fixture has IN(mode, name). */
#define ARENA_TEST(fix, mode, name) \
	{ #name " [" #mode "]", name, fix##_setup_##mode, fix##_teardown, NULL }
#define BOTH(name) IN(mapped, name), IN(copied, name)
#define EVERYWHERE(name) \
	BOTH(name), IN(rings_mapped, name), IN(ram_mapped, name)

#endif
