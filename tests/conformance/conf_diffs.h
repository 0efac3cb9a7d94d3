/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every expectation that is not the same for all implementations. The baseline
 * written in the tests is what kernels 6.1 to 6.12 do. A row applies to one
 * implementation; for the kernel, to versions from @from up to, not including,
 * @below (0: no bound). UVHOST rows say where uvhost decides otherwise, or
 * follows a newer kernel.
 *
 * A row that stops being true makes its test fail just like a difference that
 * is not listed.
 *
 *   DIFF(impl, from, below, "expectation", value, "reason")
 */
// clang-format off

/* kernels */
DIFF(KERNEL, V(6, 2, 0), ANY, "offered features", 0x1033d008000,
     "RING_RESET (40) since 6.2")
DIFF(KERNEL, V(6, 2, 0), ANY, "features RING_RESET", 0, "since 6.2")
// clang-format on
