/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuzzport.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/kcmp.h>

#include "bytes.h"
#include "fuzz.h"
#include "portutil.h"

struct fuzzport_wire fuzzport;

uint64_t fuzzport_digest(uint64_t digest, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t word;

	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		digest = (digest ^ word) * 0x100000001b3;
		digest ^= digest >> 32;
	}
	while (len--)
		digest = (digest ^ *p++) * 0x100000001b3;
	return digest;
}

/* Every byte is looked at: the sanitizers have an eye on it. */
static void take_frame(struct netport *port, const struct frame *f)
{
	size_t len = 0;

	must(f->iovcnt >= 1 && f->iovcnt <= 1024);
	for (unsigned int k = 0; k < f->iovcnt; k++) {
		fuzzport.digest = fuzzport_digest(
			fuzzport.digest, f->iov[k].iov_base, f->iov[k].iov_len);
		len += f->iov[k].iov_len;
	}
	must(len && len == f->len && len <= NETPORT_FRAME_MAX);
	must(port->hdr_len == 0 || port->hdr_len == 10 || port->hdr_len == 12);
	fuzzport.digest = fuzzport_digest(fuzzport.digest, &len, sizeof(len));
	fuzzport.sent++;
	fuzzport.sent_bytes += len;
}

static int fuzz_send(struct netport *port, const struct frame *frames,
		     unsigned int n)
{
	must(n);
	if (fuzzport.block) {
		fuzzport.block--;
		return -EAGAIN;
	}
	if (fuzzport.most)
		n = MIN(n, fuzzport.most);
	for (unsigned int i = 0; i < n; i++) {
		if (fuzzport.refuse) {
			fuzzport.refuse--;
			port_drop(port, &frames[i], 1);
		} else {
			take_frame(port, &frames[i]);
		}
	}
	return (int)n;
}

static int fuzz_recv(struct netport *port, struct frame *frames, unsigned int n)
{
	unsigned int i;

	(void)port;
	must(n);
	for (i = 0; i < n && fuzzport.n; i++) {
		uint32_t len = fuzzport.frames[fuzzport.first];
		struct frame *f = &frames[i];
		uint32_t left = len;

		for (unsigned int k = 0; k < f->iovcnt && left; k++) {
			size_t part = MIN(left, f->iov[k].iov_len);

			memset(f->iov[k].iov_base, (int)(len % 251 + 1), part);
			left -= (uint32_t)part;
		}
		f->len = len - left;
		f->trunc = left > 0;
		fuzzport.first = (fuzzport.first + 1) % FUZZPORT_QUEUE;
		fuzzport.n--;
	}
	return i ? (int)i : -EAGAIN;
}

static void fuzz_close(struct netport *port)
{
	close(port->fd);
	free(port);
}

static const struct netport_ops fuzz_ops = {
	.name = "fuzz",
	.send = fuzz_send,
	.recv = fuzz_recv,
	.close = fuzz_close,
};

int netport_from_fd(int fd, struct netport **out)
{
	struct netport *port;

	if (fcntl(fd, F_GETFD) < 0)
		return -ENOTSOCK;
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	port->ops = &fuzz_ops;
	port->fd = fd;
	*out = port;
	return 0;
}

bool netport_same_fd(int a, int b)
{
	return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}
