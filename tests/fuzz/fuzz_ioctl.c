/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ioctl table: the input is a sequence of calls by several callers on one
 * device. The harness stands for CUSE, for the session and for the caller: it
 * does pass after pass with what the table asked for, though not always with
 * all of it, and the argument may say something else the second time.
 *
 * What must hold: a call ends after a few passes; a pass asks for no more than
 * CUSE moves, and looks at no fact that ioctl_needs() did not ask for; results
 * are errnos that CUSE can carry; no descriptor is lost.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bytes.h"
#include "fuzzport.h"
#include "inline_worker.h"
#include "ioctl.h"
#include "vdev_priv.h"
#include "abi.h"

#define CALLS_MAX 40
#define PASSES_MAX 4
#define UVA 0x10000u /* what the caller has, besides the argument */
#define MEM 0x8000u
#define REGIONS_MAX 64

static const uint32_t commands[] = {
	VHOST_GET_FEATURES,
	VHOST_SET_FEATURES,
	VHOST_SET_OWNER,
	VHOST_RESET_OWNER,
	VHOST_SET_MEM_TABLE,
	VHOST_SET_LOG_BASE,
	VHOST_SET_LOG_FD,
	VHOST_NEW_WORKER,
	VHOST_FREE_WORKER,
	VHOST_SET_VRING_NUM,
	VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_BASE,
	VHOST_GET_VRING_BASE,
	VHOST_SET_VRING_ENDIAN,
	VHOST_GET_VRING_ENDIAN,
	VHOST_ATTACH_VRING_WORKER,
	VHOST_GET_VRING_WORKER,
	VHOST_SET_VRING_KICK,
	VHOST_SET_VRING_CALL,
	VHOST_SET_VRING_ERR,
	VHOST_SET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_GET_VRING_BUSYLOOP_TIMEOUT,
	VHOST_SET_BACKEND_FEATURES,
	VHOST_GET_BACKEND_FEATURES,
	VHOST_NET_SET_BACKEND,
	VHOST_GET_FEATURES_ARRAY,
	VHOST_SET_FEATURES_ARRAY,
	VHOST_SET_FORK_FROM_OWNER,
	VHOST_GET_FORK_FROM_OWNER,
};

static struct worker *worker;
static int event, memory;

/* The error of a fact that was not asked for: no call may return it. */
#define NOT_ASKED (-EUSERS)

/* The caller of the next call, and what is found of it. */
struct caller {
	struct vdev *v;
	bool is_owner;
	bool fail; /* the next reach into it fails */
};

/* One shared mapping, of a file of the caller. */
static int find_maps(struct owner_maps *m)
{
	struct stat st;

	m->map = calloc(1, sizeof(*m->map));
	m->fd = malloc(sizeof(*m->fd));
	must(m->map && m->fd && fstat(memory, &st) == 0);
	m->fd[0] = fcntl(memory, F_DUPFD_CLOEXEC, 0);
	must(m->fd[0] >= 0);
	m->map[0] = (struct owner_map){
		.uva = UVA,
		.size = MEM,
		.dev = st.st_dev,
		.ino = st.st_ino,
	};
	m->nmaps = m->nfds = 1;
	return 0;
}

static int fetch_fd(int number)
{
	if (number == -1)
		return VDEV_FD_NONE;
	if (number & 1)
		return event;
	return number & 2 ? STDERR_FILENO : VDEV_FD_BAD;
}

/* What the pass needs, and errors instead of the rest. */
static void find_facts(const struct caller *c, const struct ioctl_call *call,
		       struct call_facts *f)
{
	struct ioctl_needs needs;

	ioctl_needs(call, REGIONS_MAX, &needs);
	*f = CALL_FACTS_NONE;
	f->is_owner = needs.owner && c->is_owner;
	f->owner_error = f->fd_error = f->maps_error = NOT_ASKED;
	if (needs.set_owner)
		f->owner_error = c->fail ? -ENOMEM : 0;
	if (needs.fd)
		f->fd_error = c->fail ? -ESRCH : 0;
	if (needs.fd && !c->fail)
		f->fd = fetch_fd(needs.fd_number);
	if (!needs.maps)
		return;
	must(needs.nregions <= REGIONS_MAX);
	must(call->in_len >= 8 + needs.nregions * 32);
	f->maps_error = c->fail ? -ENOMEM : find_maps(&f->maps);
}

/* One pass; the row alone decides the same. */
static void run(struct ioctl_target *t, const struct caller *c,
		const struct ioctl_call *call, struct ioctl_verdict *v)
{
	bool has_owner = vdev_has_owner(c->v);
	struct ioctl_verdict first;
	struct call_facts f;

	find_facts(c, call, &f);
	memset(v, 0xa5, sizeof(*v));
	ioctl_run(t, call, &f, v);
	must(v->again || v->error != NOT_ASKED);
	if (ioctl_first_pass(call, has_owner, f.is_owner, &first))
		must(first.again == v->again && first.fetch == v->fetch &&
		     first.store_at == v->store_at && first.store == v->store &&
		     first.error == v->error && first.out_len == v->out_len);
	owner_maps_free(&f.maps);
}

/* Numbers with a meaning here and there, so that calls succeed, too. */
static void make_argument(struct input *in, uint8_t *arg, size_t len)
{
	uint8_t how = in_u8(in);
	size_t given = in_u8(in);

	memset(arg, how & 1 ? 0xff : 0, len);
	in_bytes(in, arg, MIN(len, given));
	for (size_t at = 0; how & 2 && at + 32 <= len && at < 4096; at += 32) {
		uint64_t uva = UVA + arg[at] * 64u;

		memcpy(arg + at + 16, &uva, sizeof(uva));
		memcpy(arg + at + 24, &uva, sizeof(uva));
	}
}

static uint32_t command(struct input *in)
{
	uint8_t i = in_u8(in);

	if (i == 0xff)
		return in_u32(in);
	return commands[i % ARRAY_SIZE(commands)];
}

/* One call, as CUSE does it. */
static void call(struct ioctl_target *t, struct caller *c, struct input *in)
{
	uint32_t cmd = command(in);
	uint8_t how = in_u8(in);
	struct ioctl_call call = { .cmd = cmd, .arg = in_u16(in) };
	struct ioctl_verdict v;
	unsigned int passes = 0;

	c->is_owner = how & 0xf;
	c->fail = (how & 0xf0) == 0xf0;
	for (;;) {
		/* exactly as much as there is, for the sanitizer to see */
		uint8_t *room = malloc(call.in_len + 1);
		uint8_t *out = malloc(call.out_room + 1);

		must(room && out && passes++ < PASSES_MAX);
		make_argument(in, room, call.in_len);
		call.in = room + (how >> 7 & 1 && call.in_len == 0);
		call.out = out;
		run(t, c, &call, &v);
		free(room);
		free(out);
		if (!v.again)
			break;
		must(v.fetch <= IOCTL_DATA_MAX && v.store <= IOCTL_DATA_MAX);
		must(v.fetch > call.in_len || v.store > call.out_room);
		call.in_len = v.fetch;
		call.out_room = v.store;
		/* CUSE gives what it was asked for; if it did not, once */
		if (how & 0x40 && v.fetch && passes == 1)
			call.in_len -= in_u8(in) % (v.fetch + 1);
	}
	must(v.error <= 0 && v.error > -512);
	must(v.out_len <= call.out_room);
	must(v.error == 0 || v.out_len == 0);
}

static unsigned int open_fds(void)
{
	int fd = dup(event);

	/* the lowest that is free: all below are in use */
	must(fd >= 0);
	close(fd);
	return (unsigned int)fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct caller c = { 0 };
	struct ioctl_target t = { .max_mem_regions = REGIONS_MAX,
				  .fork_from_owner = true };
	struct vdev_config config = { .features = VDEV_OPTIONAL_FEATURES };
	unsigned int fds;

	if (!worker) {
		log_set_level(LOG_LEVEL_ERROR);
		must(worker_new("fuzz", 0, &worker) == 0);
		event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		memory = memfd_create("fuzz", MFD_CLOEXEC);
		must(event >= 0 && memory >= 0 && ftruncate(memory, MEM) == 0);
	}
	/* All 0 again. */
	must(ftruncate(memory, 0) == 0 && ftruncate(memory, MEM) == 0);
	fuzzport = (struct fuzzport_wire){ .n = 3, .frames = { 60, 1500 } };
	fds = open_fds();
	config.worker = worker;
	must(vdev_new(&config, &c.v) == 0);
	t.vdev = c.v;
	for (unsigned int i = 0; i < CALLS_MAX && !in_empty(&in); i++) {
		call(&t, &c, &in);
		if (in_u8(&in) % 8 == 0)
			worker_settle(worker, 100);
	}
	vdev_free(c.v);
	must(open_fds() == fds);
	return 0;
}
