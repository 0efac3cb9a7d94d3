/* SPDX-License-Identifier: BSD-3-Clause */
/* line.c measures how long a cache line takes between the two processors. */
#ifndef LINE_H
#define LINE_H

/**
 * line_ns() - time of a cache line from BENCH_CPU_BACKEND to BENCH_CPU_FRONTEND
 * and back, in ns; takes half a millisecond
 *
 * A virtual machine's processors move about on the processors of its host: now
 * they are two threads of one core, now cores with one L3 cache, now neither.
 * What two processors do with one ring then takes another time, for one side
 * more than for the other. Call it while nothing else runs here. Return: 0 if
 * there are not two processors.
 */
double line_ns(void);

/**
 * line_usual_ns() - the distance that a run refers to
 *
 * Of a hundred line_ns() in two seconds the tenth from below: so two runs refer
 * to the same distance if the processors are near each other now and then.
 */
double line_usual_ns(void);

#endif
