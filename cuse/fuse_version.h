/* SPDX-License-Identifier: BSD-3-Clause */
/* Includes libfuse's headers, with one interface version for all files. */
#ifndef FUSE_VERSION_H
#define FUSE_VERSION_H

#define FUSE_USE_VERSION 31
#include <cuse_lowlevel.h>

#endif
