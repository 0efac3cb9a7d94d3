/* SPDX-License-Identifier: BSD-3-Clause */
/* procfile.c reads numbers from small files of /proc and /sys. */
#ifndef PROCFILE_H
#define PROCFILE_H

/**
 * procfile_number() - read a decimal number
 * @key: the line starts with it ("Tgid:"); NULL: the file starts with the
 *       number
 *
 * Return: 0; -ENOENT (no such file or line); -EINVAL (no number); -errno.
 */
int procfile_number(const char *path, const char *key, long *out);

#endif
