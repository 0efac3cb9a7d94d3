/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuzzarena.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA_BYTES ((size_t)target.pages * PAGE)

uint8_t *arena;
struct worker *worker;
int event, backend[2];
static struct aspace_map *maps[ARENA_ZONES_MAX];

static void map_zone(unsigned int z, int memfd)
{
	off_t off = zone(z) - arena;
	void *p;

	must(mmap(zone(z), zone_size(z), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_FIXED, memfd, off) == zone(z));
	/* the device's own view, with a hole behind it, too */
	p = mmap(NULL, zone_size(z) + PAGE, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(p != MAP_FAILED);
	must(mmap(p, zone_size(z), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_FIXED, memfd, off) == p);
	maps[z] = aspace_map_new((uintptr_t)zone(z), zone_size(z), p);
	must(maps[z]);
}

static void init(void)
{
	int memfd = memfd_create("arena", MFD_CLOEXEC);

	log_set_level(LOG_LEVEL_ERROR);
	must(memfd >= 0 && ftruncate(memfd, (off_t)ARENA_BYTES) == 0);
	arena = mmap(NULL, ARENA_BYTES, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(arena != MAP_FAILED);
	for (unsigned int z = 0; z < target.nzones; z++)
		map_zone(z, memfd);
	close(memfd);
	must(worker_new("fuzz", 0, &worker) == 0);
	event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (int i = 0; i < 2; i++)
		backend[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	must(event >= 0 && backend[1] >= 0);
}

void arena_save(uint8_t *copy, unsigned int zones)
{
	for (unsigned int z = 0; z < target.nzones; z++)
		if (zones >> z & 1)
			memcpy(in_copy(copy, z), zone(z), zone_size(z));
}

static bool is_mapped(enum mode mode, unsigned int z)
{
	bool ring = z < target.rings;

	return mode == MAPPED || (mode == RINGS_MAPPED && ring) ||
	       (mode == RAM_MAPPED && !ring);
}

size_t arena_maps(enum mode mode, struct aspace_map **out)
{
	size_t n = 0;

	for (unsigned int z = 0; z < target.nzones; z++)
		if (is_mapped(mode, z))
			out[n++] = aspace_map_get(maps[z]);
	return n;
}

void dut_own(struct dut *d)
{
	struct aspace_map *m[ARENA_ZONES_MAX];
	size_t n = arena_maps(d->mode, m);
	struct aspace *as;
	int fd = -1;

	if (d->mode != MAPPED) {
		fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
		must(fd >= 0);
	}
	must(aspace_new(fd, &as) == 0);
	must(aspace_set_maps(as, m, n) == 0);
	must(vdev_set_owner(d->v, as) == 0);
}

void dut_iotlb(struct dut *d, uint8_t type, uint64_t iova, uint64_t size,
	       uint64_t uva, uint8_t perm)
{
	struct vhost_msg msg = {
		.type = VHOST_IOTLB_MSG,
		.iotlb = { iova, size, uva, perm, type },
	};

	vdev_iotlb_write(d->v, &msg, sizeof(msg));
}

void dut_iotlb_rings(struct dut *d)
{
	for (unsigned int z = 0; z < target.rings; z++)
		dut_iotlb(d, VHOST_IOTLB_UPDATE,
			  (uintptr_t)zone(z) + IOVA_RINGS, zone_size(z),
			  (uintptr_t)zone(z), VHOST_ACCESS_RW);
}

void dut_frames(struct dut *d, struct input *in, in_frame_len len)
{
	unsigned int n = 1 + in_u8(in) % 8;
	uint64_t one = 1;

	d->frames = true;
	while (n-- && fuzzport.n < FUZZPORT_QUEUE) {
		unsigned int i =
			(fuzzport.first + fuzzport.n++) % FUZZPORT_QUEUE;

		fuzzport.frames[i] = len(d, in);
	}
	for (unsigned int i = 0; i < 2; i++)
		must(write(backend[i], &one, sizeof(one)) == sizeof(one));
}

void op_kick(struct dut *d, struct input *in)
{
	struct vdev_queue *r = &d->v->queue[in_u8(in) & 1];

	r->kick.fn(&r->kick, 0);
	target.settle(d);
}

void op_port(struct dut *d, struct input *in)
{
	uint8_t how = in_u8(in);

	(void)d;
	fuzzport.refuse = how & 3;
	fuzzport.block = how >> 2 & 3;
	fuzzport.most = how >> 4 & 3;
}

/* ---- two devices ---- */

static void take_outcome(const struct dut *d, struct outcome *o)
{
	o->sent = fuzzport.digest;
	arena_save(o->memory, ~0u);
	target.forget(d, o);
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++) {
		const struct virtq *vq = &d->v->queue[qi].vq;
		const struct vdev_counters *c = &vq->counters;
		uint64_t n[] = { vq->last_avail_idx, vq->last_used_idx,
				 c->frames,          c->bytes,
				 c->dropped,         c->errors };

		_Static_assert(sizeof(n) == sizeof(o->ring[0]), "numbers");
		memcpy(o->ring[qi], n, sizeof(n));
	}
}

static const char *const numbers[OUTCOME_NUMBERS] = {
	"avail", "used", "frames", "bytes", "dropped", "errors",
};

static void must_be_equal(const struct outcome *a, const struct outcome *b)
{
	for (unsigned int qi = 0; qi < VDEV_VQS; qi++)
		for (unsigned int i = 0; i < OUTCOME_NUMBERS; i++)
			if (a->ring[qi][i] != b->ring[qi][i]) {
				fprintf(stderr, "ring %u: %s %llu, %llu\n", qi,
					numbers[i],
					(unsigned long long)a->ring[qi][i],
					(unsigned long long)b->ring[qi][i]);
				abort();
			}
	must(a->sent == b->sent);
	for (unsigned int i = 0; i < ARENA_BYTES; i += 8)
		if (memcmp(a->memory + i, b->memory + i, 8) != 0) {
			fprintf(stderr, "page %u offset %u differs\n", i / PAGE,
				i % PAGE);
			abort();
		}
}

/* Returns true if the outcome may differ. */
static bool run(struct input in, enum mode mode, struct outcome *o)
{
	struct vdev_config config = { .worker = worker,
				      .features = VDEV_OPTIONAL_FEATURES };
	struct dut d = { .mode = mode };
	uint64_t count;

	fuzzport = (struct fuzzport_wire){ 0 };
	for (unsigned int z = 0; z < target.nzones; z++)
		memset(zone(z), 0, zone_size(z));
	must(vdev_new(&config, &d.v) == 0);
	target.start(&d, &in);
	target.settle(&d);
	for (unsigned int i = 0; i < target.ops_max && !in_empty(&in); i++)
		target.ops[in_u8(&in) % target.nops](&d, &in);
	target.settle(&d);
	take_outcome(&d, o);
	/* A run that ended early leaves frames where they are. */
	d.apart |= d.frames && (o->ring[VHOST_NET_VQ_RX][OUTCOME_ERRORS] ||
				d.v->mv.have_iotlb);
	vdev_free(d.v);
	for (unsigned int i = 0; i < 2; i++)
		if (read(backend[i], &count, sizeof(count)) < 0)
			continue; /* nothing in it */
	return d.weird || d.apart;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome first, second;
	struct input in = { data, size };
	enum mode mode = COPIED;
	bool apart;

	if (!arena)
		init();
	if (size)
		mode = (enum mode)(COPIED + in_u8(&in) % 3);
	apart = run(in, MAPPED, &first);
	apart |= run(in, mode, &second);
	if (!apart)
		must_be_equal(&first, &second);
	return 0;
}
