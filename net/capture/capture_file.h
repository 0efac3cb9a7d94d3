/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens the files of captures. Other users must not be able to read the frames
 * of guests, nor to make the daemon empty a file of another program, by what
 * they create in a folder like /tmp.
 */
#ifndef CAPTURE_FILE_H
#define CAPTURE_FILE_H

/**
 * capture_folder() - the folder of @path, as an O_PATH descriptor
 * @path: of a file in it
 *
 * Symbolic links in the path are followed only where no other user can create
 * them. Return: the descriptor, which the caller closes; -ELOOP (a link that is
 * not followed); -ENAMETOOLONG; -errno.
 */
int capture_folder(const char *path);

/**
 * capture_create() - create or empty the file @name of a folder, for writing
 * @folder: from capture_folder()
 * @name:   without a slash
 *
 * A new file has mode 0600. An existing file is accepted if it is
 *   - a regular file of our user, and this is its only name: it is emptied;
 *   - a FIFO with a reader: ours, root's, or the folder's owner's, or any in a
 *     folder where no other user can put one;
 *   - a character device.
 * Never waits. Return: the descriptor, O_NONBLOCK, the caller's; -EPERM (of
 * another user); -EMLINK (it has further names); -ELOOP (a symbolic link);
 * -ENXIO (a FIFO without a reader); -EINVAL (of another kind); -errno.
 */
int capture_create(int folder, const char *name);

#endif
