/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wmsg.h: the messages between the broker (uvhostd) and a worker process
 * (uvhost-worker), over a pair of SOCK_SEQPACKET sockets. The first message
 * says what the process serves: the device of an open file (WMSG_START), a
 * vhost-user connection (WMSG_SOCK_START), or a network (WMSG_NET_START).
 *
 *   call      broker -> worker   has a number, which counts up; one at a time
 *   reply     worker -> broker   has the number of its call
 *   hello     broker -> worker   first message of a broker that was restarted;
 *                                its reply has the number of the last call
 *   event     worker -> broker   no reply
 *   question  worker -> broker   has a number of its own; answered also while
 *                                the broker waits for a reply
 *
 * A message is a header and a body. A body that does not fit the socket lies in
 * a memfd, which is sealed against writing and resizing and is read, not
 * mapped; only the broker sends those. Numbers are in the machine's byte order:
 * both programs come from one build.
 *
 * The receiver trusts nothing: what is not as described here is -EPROTO, and
 * all descriptors that came with it are closed.
 */
#ifndef WMSG_H
#define WMSG_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include "devlink.h"
#include "framering.h"
#include "ioctl_table.h"
#include "netif.h"

/** WMSG_MAGIC - first field of each message; the last byte is the version */
#define WMSG_MAGIC UINT32_C(0x77755601)

enum wmsg_type {
	/* calls */
	WMSG_START = 1,    /* struct wmsg_start; descriptors, inherited: struct
			    * devmem, or none; those of a frame ring, or none */
	WMSG_IOCTL,        /* struct wmsg_ioctl, bytes, maps, bars */
	WMSG_READ,         /* struct wmsg_number: bytes wanted */
	WMSG_WRITE,        /* the bytes; descriptor: the owner's memory file,
			    * or none */
	WMSG_READABLE,     /* no body */
	WMSG_RESUME,       /* struct wmsg_number: enum wmsg_resume bits */
	WMSG_REPLAY_IOTLB, /* no body */
	WMSG_PRINT,        /* no body */

	WMSG_HELLO, /* struct wmsg_hello; the reply too */

	/* events and questions of the worker process */
	WMSG_EVENT_IOTLB, /* no body */
	WMSG_FAULT_IN,    /* struct wmsg_range */

	/* to a worker process that serves a connection: no numbers */
	WMSG_SOCK_START, /* struct wmsg_sock; descriptors, inherited: the
			  * connection, /dev/userfaultfd or none, those of the
			  * port, or of a frame ring for each queue pair. The
			  * reply: struct wmsg_number, 0 or -errno */
	WMSG_SOCK_HELLO, /* no body; the reply: struct wmsg_sock, as it came */
	WMSG_SOCK_PRINT, /* no body, no reply: the process prints */
	WMSG_SOCK_END,   /* no body, no reply: the process ends */

	/* to a worker process that has a network: no numbers. netmsg.h */
	WMSG_NET_START,   /* struct netmsg_start */
	WMSG_NET_CAPTURE, /* struct netmsg_capture; descriptors: file, mark */
	WMSG_NET_PORT,    /* struct netmsg_port; descriptors of its interface */
	WMSG_NET_RUN,     /* no body; the reply: struct wmsg_number, 0 or
			   * -errno */
	WMSG_NET_RING,    /* struct netmsg_ring; descriptors of the ring */
	WMSG_NET_LEAVE,   /* struct netmsg_leave */
	WMSG_NET_PRINT,   /* no body: the process prints; the reply: struct
			   * wmsg_number, 0 */
	WMSG_NET_SPOILED, /* from the process: struct netmsg_spoiled */

	WMSG_TYPES
};

/** WMSG_REPLY - the type of a reply is that of its call, hello or question,
 * with this bit. Bodies: struct wmsg_reply and bytes; struct wmsg_hello;
 * struct wmsg_number */
#define WMSG_REPLY 0x100

static inline bool wmsg_is_call(unsigned int type)
{
	return type >= WMSG_START && type <= WMSG_PRINT;
}

/** WMSG_IN_MEMFD - flag: the body is in the last descriptor, a memfd */
#define WMSG_IN_MEMFD 1
/** WMSG_INHERITED - flag of the first message: its descriptors are not sent;
 * the process was started with them */
#define WMSG_INHERITED 2

/**
 * struct wmsg_hdr - start of each message
 * @type:  enum wmsg_type, with WMSG_REPLY or without
 * @flags: WMSG_IN_MEMFD, WMSG_INHERITED or 0
 * @seq:   number of the call or the question; 0: hello and events
 * @len:   bytes of the body, wherever it is
 * @nfds:  descriptors that come with it, the memfd included
 */
struct wmsg_hdr {
	uint32_t magic;
	uint16_t type;
	uint16_t flags;
	uint64_t seq;
	uint32_t len;
	uint32_t nfds;
};

/** WMSG_FDS_MAX - descriptors of a message (the kernel's SCM_MAX_FD) */
#define WMSG_FDS_MAX 253
/** WMSG_BODY_MAX - bytes of a body, if it is in a memfd */
#define WMSG_BODY_MAX ((size_t)1 << 20)
/** WMSG_PACKET_MAX - bytes of a message on the socket, header included: an
 * ioctl with IOCTL_DATA_MAX bytes, in either direction */
#define WMSG_PACKET_MAX (IOCTL_DATA_MAX + 512)
/** WMSG_TEXT_MAX - bytes of the text of WMSG_PRINT */
#define WMSG_TEXT_MAX 65536
/** WMSG_FAULT_MAX - bytes that one WMSG_FAULT_IN names */
#define WMSG_FAULT_MAX ((uint64_t)2 << 20)
/** WMSG_BUILD_MAX - bytes of a build id, its 0 included */
#define WMSG_BUILD_MAX 64
/** WMSG_ERRNO_MAX - errors are 0...-WMSG_ERRNO_MAX: what FUSE can carry */
#define WMSG_ERRNO_MAX 511

/* ---- bodies; no padding ---- */

/**
 * struct wmsg_start - what a worker process serves
 * @build: build id of the broker, ends with 0
 * @tag:   for log lines (struct log_tag), ends with 0
 * @features, @max_mem_regions, @busy_poll_us: as struct devlink_config
 * @log_level: enum log_level
 * @stall_ms: as struct devlink_config
 */
struct wmsg_start {
	char build[WMSG_BUILD_MAX];
	char tag[48];
	uint64_t features;
	uint32_t max_mem_regions;
	uint32_t busy_poll_us;
	int32_t log_level;
	uint32_t stall_ms;
};

/** struct wmsg_hello - @last: number of the last call that the worker process
 * received; 0 in the request */
struct wmsg_hello {
	char build[WMSG_BUILD_MAX];
	uint64_t last;
};

/** Bits of struct wmsg_sock.flags */
enum wmsg_sock_flags {
	WMSG_SOCK_POSTCOPY = 1,
	WMSG_SOCK_USERFAULT = 2, /* /dev/userfaultfd comes with it */
	WMSG_SOCK_STORED = 4,    /* the broker's end of the socket outlives the
				  * broker: with that end, the connection ends */
	WMSG_SOCK_RINGS = 8,     /* frame rings in place of a port */
};

/** WMSG_SOCK_PAIRS_MAX - queue pairs of a connection; WMSG_SOCK_RINGS_MAX: with
 * frame rings, which fit in a bag (bag.h) */
#define WMSG_SOCK_PAIRS_MAX 64
#define WMSG_SOCK_RINGS_MAX 12
/** WMSG_SOCK_FDS_MAX - descriptors of the port or the frame rings */
#define WMSG_SOCK_FDS_MAX 64

/**
 * struct wmsg_sock - the connection that a worker process serves
 * @build, @tag, @log_level: as in struct wmsg_start
 * @port:  for netif_adopt(), ends with 0; "" with frame rings
 * @map_bytes, @queue_pairs, @busy_poll_us, @mtu, @mac: as in struct
 *         vu_session_config; at most WMSG_SOCK_PAIRS_MAX pairs
 * @flags: enum wmsg_sock_flags
 */
struct wmsg_sock {
	char build[WMSG_BUILD_MAX];
	char tag[48];
	char port[NETIF_SPEC_MAX + 1];
	uint64_t map_bytes;
	uint32_t queue_pairs;
	uint32_t busy_poll_us;
	int32_t log_level;
	uint32_t flags;
	uint16_t mtu;
	uint8_t mac[6];
};

/** struct wmsg_number - one number, or 0 or -errno */
struct wmsg_number {
	int64_t n;
};

/** struct wmsg_range - @len: 1...WMSG_FAULT_MAX bytes at @uva; @write: 0; 1:
 * they are to be written */
struct wmsg_range {
	uint64_t uva;
	uint64_t len;
	uint64_t write;
};

/** Bits of WMSG_RESUME */
enum wmsg_resume {
	WMSG_RESUME_ON = 1,
	WMSG_RESUME_WAS_RESET = 2,
};

/** Bits of struct wmsg_ioctl.flags. Order of the descriptors:
 * call_facts.mem_fd, call_facts.fd, call_facts.maps.fd */
enum wmsg_ioctl_flags {
	WMSG_IS_OWNER = 1,
	WMSG_MEM_FD = 2,    /* call_facts.mem_fd comes with it */
	WMSG_FD = 4,        /* call_facts.fd comes with it */
	WMSG_FD_BAD = 8,    /* call_facts.fd is VDEV_FD_BAD; none of both:
			     * VDEV_FD_NONE */
	WMSG_REPEATED = 16, /* call_facts.repeated */
};

/**
 * struct wmsg_ioctl - struct ioctl_call and struct call_facts
 *
 * Then come @in_len bytes, zeros up to a multiple of 8, @nmaps struct wmsg_map,
 * @nbars struct wmsg_bar.
 */
struct wmsg_ioctl {
	uint32_t cmd;
	uint32_t flags;
	uint64_t arg;
	uint32_t in_len;
	uint32_t out_room;
	int32_t owner_error;
	int32_t pid;
	int32_t fd_error;
	int32_t maps_error;
	uint32_t nmaps;
	uint32_t nbars;
	uint32_t map_fds;
	uint32_t unused; /* 0 */
};

/** struct wmsg_map - struct owner_map */
struct wmsg_map {
	uint64_t uva, size, off;
	uint64_t dev, ino;
	uint32_t file;
	uint32_t unused; /* 0 */
};

/** Bits of struct wmsg_bar.flags */
enum wmsg_bar_flags {
	WMSG_NO_READ = 1,
	WMSG_NO_WRITE = 2,
};

/** struct wmsg_bar - struct aspace_bar */
struct wmsg_bar {
	uint64_t start, end;
	uint32_t flags;
	uint32_t unused; /* 0 */
};

/**
 * struct wmsg_reply - start of the reply to each call
 * @n: START, RESUME, REPLAY_IOTLB, IOCTL: 0 or -errno; READ, WRITE: what the
 *     device session returned; READABLE: 0 or 1; PRINT: 0 or -errno
 * @again, @fetch, @store_at, @store: IOCTL: as struct ioctl_verdict; else 0
 *
 * Then come the bytes that were read, or printed, or that the ioctl stores.
 */
struct wmsg_reply {
	int64_t n;
	uint64_t again;
	uint64_t fetch;
	uint64_t store_at;
	uint64_t store;
};

/* ---- the socket ---- */

/**
 * wmsg_pair() - make a pair of sockets
 * @ends: close-on-exec, in blocking mode
 *
 * Their send buffers take WMSG_PACKET_MAX bytes where the host's limits
 * (net.core.wmem_max) or our privileges let them; else bodies go in memfds.
 * Return: 0 or -errno.
 */
int wmsg_pair(int ends[2]);

/** wmsg_is_unix() - is @fd an AF_UNIX socket of this type (SOCK_*)? */
bool wmsg_is_unix(int fd, int type);

/** wmsg_refuse_fds() - refuse descriptors on the broker's end: a worker
 * process has no reason to send any, and closing one can block the thread that
 * receives it. Kernels before Linux 6.16 close a descriptor for which there is
 * no room */
void wmsg_refuse_fds(int sock);

/** wmsg_build() - the build id of this program, at most WMSG_BUILD_MAX - 1
 * characters */
const char *wmsg_build(void);

/** WMSG_PARTS - pieces of a body */
#define WMSG_PARTS 4

/**
 * struct wmsg_out - a message to be sent; all of it is borrowed
 * @part:  the body: @nparts pieces, at most WMSG_PARTS
 * @fd:    @nfds descriptors, at most WMSG_FDS_MAX - 1
 * @memfd: the body may go in a memfd
 * @inherited: the receiver has the descriptors; @fd is not looked at
 * @no_wait: too many descriptors in flight are -ENOMEM at once (fdsend.h)
 */
struct wmsg_out {
	unsigned int type;
	uint64_t seq;
	struct iovec part[WMSG_PARTS];
	unsigned int nparts;
	const int *fd;
	unsigned int nfds;
	bool memfd;
	bool inherited;
	bool no_wait;
};

/** wmsg_is_shortage() - is this -errno a lack of memory, threads or
 * descriptors? It may pass: another process is worth a try. */
static inline bool wmsg_is_shortage(int error)
{
	return error == -ENOMEM || error == -EAGAIN || error == -EMFILE ||
	       error == -ENFILE;
}

/**
 * wmsg_send() - one sendmsg(2) in the common case, no allocation
 * @flags: of sendmsg(2)
 *
 * Return: 0; -EAGAIN, -EINTR (nothing was sent); -ECONNRESET (no peer);
 * -EMSGSIZE (the body is too long); -ENOMEM (any other error; nothing was
 * sent).
 */
int wmsg_send(int sock, const struct wmsg_out *m, int flags);

/**
 * struct wmsg_in - a message that was received
 * @hdr:  checked
 * @body: @hdr.len bytes, at a multiple of 8
 * @fd:   @nfds descriptors, without the memfd, close-on-exec; the message's
 * @inherits: the first of the descriptors that this process was started with,
 *            if they belong to the next message; else 0
 */
struct wmsg_in {
	struct wmsg_hdr hdr;
	const uint8_t *body;
	unsigned int nfds;
	int fd[WMSG_FDS_MAX];
	int inherits;

	/* private */
	uint8_t *packet;
	size_t room;
	uint8_t *big;
	bool takes_fds;
};

/**
 * wmsg_in_init() - space for messages
 * @packet_max: bytes of a message on the socket, header included
 * @takes_fds:  else a message with a descriptor is -EPROTO, and the kernel
 *              closes it
 *
 * Return: 0 or -ENOMEM.
 */
int wmsg_in_init(struct wmsg_in *in, size_t packet_max, bool takes_fds);

/** wmsg_in_release() - close the descriptors of the message, and free its body;
 * harmless if there is none. wmsg_recv() does it first */
void wmsg_in_release(struct wmsg_in *in);

/** wmsg_in_free() - after wmsg_in_init(), or zeroed */
void wmsg_in_free(struct wmsg_in *in);

/**
 * wmsg_recv() - receive one message, and check its header
 * @flags: of recvmsg(2)
 *
 * Return: 0; -EAGAIN, -EINTR; -ECONNRESET (no peer); -EPROTO (malformed);
 * -EMSGSIZE (longer than @packet_max); -ENOMEM (also: too few descriptors are
 * free in this process). After the last two @in->hdr is right, and the rest is
 * lost. The message is released unless 0.
 */
int wmsg_recv(int sock, struct wmsg_in *in, int flags);

/** wmsg_body() - a body of exactly @size bytes, and without descriptors; NULL:
 * it is not */
const void *wmsg_body(const struct wmsg_in *in, size_t size);

/** wmsg_number() - a body that is a number, which is at least @min and at most
 * @max; 0 or -EPROTO */
int wmsg_number(const struct wmsg_in *in, int64_t min, int64_t max, int64_t *n);

/* ---- bodies that are more than a struct ---- */

/** struct wmsg_call - space for what wmsg_put_ioctl() makes */
struct wmsg_call {
	struct wmsg_ioctl head;
	int fd[WMSG_FDS_MAX];
	void *tables; /* malloc()ed, or NULL */
};

/**
 * wmsg_put_ioctl() - make the message of an ioctl
 * @c:     filled in; stays until it is sent, then wmsg_call_release()
 * @call, @facts: borrowed until then
 * @out:   filled in, but for its number
 *
 * Return: 0; -EMSGSIZE (more bytes, maps, bars or descriptors than a message
 * has); -ENOMEM.
 */
int wmsg_put_ioctl(struct wmsg_call *c, const struct ioctl_call *call,
		   const struct call_facts *facts, struct wmsg_out *out);
void wmsg_call_release(struct wmsg_call *c);

/**
 * wmsg_get_ioctl() - the ioctl of a message
 * @call:  its @in belongs to @in, it has no @out
 * @facts: its descriptors belong to @in. On success wmsg_facts_release() has to
 *         follow
 *
 * Return: 0, -EPROTO, -ENOMEM.
 */
int wmsg_get_ioctl(struct wmsg_in *in, struct ioctl_call *call,
		   struct call_facts *facts);
void wmsg_facts_release(struct call_facts *facts);

/** wmsg_get_write() - the descriptor of a WMSG_WRITE, which is @in's; -1:
 * there is none. 0 or -EPROTO */
int wmsg_get_write(const struct wmsg_in *in, int *mem_fd);

/**
 * wmsg_get_start() - the struct wmsg_start of a message; 0 or -EPROTO
 * @mem_fd: the caller's, or -1
 * @ring:   the caller's, for framering_adopt(), or all -1
 */
int wmsg_get_start(struct wmsg_in *in, struct wmsg_start *start, int *mem_fd,
		   int ring[FRAMERING_FDS]);

/**
 * wmsg_get_sock() - the struct wmsg_sock of a message
 *
 * Its descriptors stay in @in: the connection, /dev/userfaultfd if @flags says
 * so, and at most one for each queue pair, or FRAMERING_FDS with frame rings.
 * (The reply to WMSG_SOCK_HELLO has none.) Return: 0 or -EPROTO.
 */
int wmsg_get_sock(const struct wmsg_in *in, struct wmsg_sock *sock);

/** wmsg_get_hello() - 0 or -EPROTO */
int wmsg_get_hello(const struct wmsg_in *in, struct wmsg_hello *hello);

/**
 * wmsg_get_reply() - the reply to a call that is no ioctl
 * @min, @max: of its number
 * @bytes:     what follows it: @len bytes, in @in
 *
 * Return: 0 or -EPROTO.
 */
int wmsg_get_reply(const struct wmsg_in *in, int64_t min, int64_t max,
		   int64_t *n, const void **bytes, size_t *len);

/**
 * wmsg_get_verdict() - the reply to an ioctl
 * @call: the pass; its @out is written
 *
 * Another pass may ask for no more than the table of ioctls allows: the bytes
 * are those of the caller's memory. Return: 0 or -EPROTO.
 */
int wmsg_get_verdict(const struct wmsg_in *in, const struct ioctl_call *call,
		     struct ioctl_verdict *v);

#endif
