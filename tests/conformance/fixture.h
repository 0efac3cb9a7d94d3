/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fixture.h puts a device into the states in which an ioctl may arrive, and
 * makes arguments for it. It asserts nothing: forked processes use it, too.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stddef.h>
#include <stdint.h>
#include "vmm.h"

/** What was done to the device; each is the one before and something more */
enum setup {
	S_FRESH,    /* opened */
	S_OWNED,    /* owner */
	S_TABLE,    /* memory table */
	S_READY,    /* ring sizes, bases, addresses, eventfds */
	S_ACTIVE,   /* both backends */
	S_STOPPED,  /* backends taken away */
	S_RESET,    /* active, then RESET_OWNER */
	S_REOWNED,  /* and owned again */
	S_IOTLB,    /* owned, ACCESS_PLATFORM */
	S_NO_RINGS, /* table, and ring addresses 0 */
	S_UNMAPPED_RINGS,
	S_KERNEL_RINGS,
	S_KERNEL_TABLE, /* ready; a region has a kernel address */
	S_EMPTY_TABLE,  /* ready; then a table without regions */
	S_WHOLE_TABLE,  /* ready; one region at 0 of size 0: everything */
	S_LOG_TOP,      /* active; log base ~0 */
	S_LOGGING,      /* active; LOG_ALL with log base 0 */
};

struct fixture {
	struct vmm *v;
	int fd;  /* the device; v's */
	int tap; /* borrowed */
};

/** fixture_open() - @tap: backend of active states; 0 or -errno */
int fixture_open(struct fixture *f, const char *path, int tap,
		 enum setup setup);
void fixture_close(struct fixture *f);

/* ---- arguments ---- */

/** What stands in a descriptor field */
enum fd_kind {
	F_NONE,   /* -1 */
	F_MINUS2, /* -2 */
	F_9999,   /* not open */
	F_CLOSED, /* was open */
	F_EVENTFD,
	F_PIPE,
	F_FILE, /* memfd */
	F_ZERO, /* /dev/zero, a character device */
	F_PATH, /* O_PATH */
	F_UDP,
	F_RAW_INET,
	F_UNIX,
	F_PACKET_DGRAM,
	F_PACKET, /* raw, not bound */
	F_TUN,    /* /dev/net/tun, attached to nothing */
	F_TAP,
	F_TAP_DETACHED, /* multiqueue, TUNSETQUEUE detached */
	F_SELF,         /* the device itself */
	F_KINDS,
};

/** Faults of a memory table of @n regions */
enum mem_shape {
	M_GOOD,
	M_SAME,       /* each region like the first */
	M_OVERLAP,    /* the second starts inside the first */
	M_SIZE0,      /* size 0 at gpa 0x1000 */
	M_SIZE0_AT0,  /* size 0 at gpa 0 */
	M_WRAP,       /* gpa + size beyond 2^64 */
	M_TOP,        /* ends exactly at 2^64 */
	M_KERNEL,     /* a kernel address */
	M_FLAGS,      /* flags_padding all ones */
	M_ODD,        /* nothing aligned */
	M_LIMIT,      /* ends at the last user address */
	M_PAST_LIMIT, /* one byte more */
	M_UVA_WRAP,   /* userspace address wraps */
	M_UNMAPPED,
};

/** What is odd about ring addresses; may be or-ed */
enum addr_shape {
	A_GOOD = 0,
	A_DESC_ODD = 1,
	A_AVAIL_ODD = 2,
	A_USED_PLUS2 = 4,
	A_LOG_PLUS2 = 8,
	A_ZERO = 16,
	A_KERNEL = 32,
	A_UNMAPPED = 64,
	A_LOG = 128,     /* VHOST_VRING_F_LOG */
	A_LOG_TOP = 256, /* log_guest_addr ~3 */
	A_FLAG2 = 512,
	A_FLAG31 = 1024,
	A_AVAIL_KERNEL = 2048,
	A_USED_KERNEL = 4096,
};

enum arg_kind {
	ARG_NONE,  /* NULL, not read */
	ARG_NULL,  /* NULL, read */
	ARG_U8,    /* a; as 8 bytes, the rest 0 */
	ARG_U32,   /* a */
	ARG_U64,   /* a */
	ARG_STATE, /* index a, num b */
	ARG_FILE,  /* index a, descriptor of kind b */
	ARG_FD,    /* descriptor of kind a */
	ARG_ADDR,  /* index a, shape b */
	ARG_MEM,   /* n a, padding c, shape b */
	ARG_ARRAY, /* count a, words b, c, 0, ... */
};

struct arg {
	enum arg_kind kind;
	uint64_t a, b, c;
};

/* An argument as a word in a table. */
// clang-format off
#define ARG0            { ARG_NONE, 0, 0, 0 }
#define U8(v)           { ARG_U8, (v), 0, 0 }
#define U32(v)          { ARG_U32, (v), 0, 0 }
#define U64(v)          { ARG_U64, (v), 0, 0 }
#define STATE(i, n)     { ARG_STATE, (i), (n), 0 }
#define FILE_(i, k)     { ARG_FILE, (i), (k), 0 }
#define FD(k)           { ARG_FD, (k), 0, 0 }
#define ADDR(i, s)      { ARG_ADDR, (i), (s), 0 }
#define MEM(n, s)       { ARG_MEM, (n), (s), 0 }
#define MEMPAD(n, s, p) { ARG_MEM, (n), (s), (p) }
#define ARRAY(n, a, b)  { ARG_ARRAY, (n), (a), (b) }
#define NULLARG         { ARG_NULL, 0, 0, 0 }
// clang-format on

#define ARG_BYTES 4096

#define FIXTURE_NO_FD (-4096)

/** fixture_fd() - a descriptor of this kind, shared; or FIXTURE_NO_FD */
int fixture_fd(struct fixture *f, enum fd_kind kind);

/**
 * fixture_arg() - build the argument in @buf (ARG_BYTES)
 * Return: its bytes; -ENODEV if a descriptor cannot be made.
 */
int fixture_arg(struct fixture *f, const struct arg *arg, uint8_t *buf);

/** fixture_user_limit() - first address that no process can have */
uint64_t fixture_user_limit(void);

#endif
