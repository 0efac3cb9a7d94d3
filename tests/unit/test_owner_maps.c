/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_owner_maps.c tests what is found of the shared memory of another process
 * (peermaps.c), and how it is mapped (owner_maps.c).
 *
 * The owner is a child that has the test's memory at the same addresses, and
 * its descriptors.
 */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <linux/if_packet.h>
#include <linux/memfd.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "arena.h"
#include "aspace.h"
#include "bytes.h"
#include "peer.h"

#define HUGE_PAGE ((size_t)2 << 20)
#define HUGE_PAGES "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define MAX_REGIONS 256

/**
 * struct fix - an owner, and a device's view of its memory
 * @region: what it says is guest memory
 * @change: what the owner does when it is told to
 * @counted, @most: mappings in the budget
 * @map: those that the address space has since apply()
 * @open: descriptors of the test before
 * @huge: huge pages that the test has added to the host's
 */
struct fix {
	pid_t owner;
	int tell, told;
	void (*change)(void *arg);
	void *change_arg;
	struct vhost_memory_region region[MAX_REGIONS];
	size_t n;
	struct aspace *as;
	struct map_budget budget;
	unsigned int counted, most;
	struct owner_maps found;
	struct aspace_map *map[MAX_REGIONS];
	size_t nmaps;
	unsigned int open;
	int huge;
};

static const struct log_tag tag = { "test" };

static bool take(void *ctx, uint64_t bytes)
{
	struct fix *f = ctx;

	(void)bytes;
	if (f->counted == f->most)
		return false;
	f->counted++;
	return true;
}

static void give(void *ctx, uint64_t bytes)
{
	struct fix *f = ctx;

	(void)bytes;
	assert_true(f->counted > 0);
	f->counted--;
}

static int huge_pages(int set_to)
{
	FILE *f = fopen(HUGE_PAGES, set_to < 0 ? "re" : "we");
	int n = -1;

	if (!f)
		return -1;
	if (set_to >= 0)
		fprintf(f, "%d", set_to);
	else if (fscanf(f, "%d", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

/* As many more of the host's as the kernel has; without rights none. */
static void add_huge_pages(struct fix *f, int n)
{
	int had = huge_pages(-1);

	if (had < 0)
		return;
	huge_pages(had + n);
	f->huge += huge_pages(-1) - had;
}

static int setup(void **state)
{
	static struct fix f;

	f = (struct fix){ .budget = { take, give, .ctx = &f },
			  .most = MAX_REGIONS,
			  .open = count_fds() };
	*state = &f;
	return 0;
}

static void end_owner(struct fix *f)
{
	if (!f->owner)
		return;
	aspace_free(f->as);
	f->as = NULL;
	kill(f->owner, SIGKILL);
	waitpid(f->owner, NULL, 0);
	f->owner = 0;
	close(f->tell);
	close(f->told);
}

static int teardown(void **state)
{
	struct fix *f = *state;

	end_owner(f);
	taker_finish();
	owner_maps_free(&f->found);
	map_budget_clear(&f->budget);
	for (size_t i = 0; i < f->n; i++)
		munmap((void *)(uintptr_t)f->region[i].userspace_addr,
		       f->region[i].memory_size);
	if (f->huge)
		add_huge_pages(f, -f->huge);
	assert_int_equal(f->counted, 0);
	assert_int_equal(count_fds(), f->open);
	return 0;
}

/* ---- the owner ---- */

static void be_owner(const struct fix *f, int told, int tell)
{
	char c;

	while (read(told, &c, 1) == 1) {
		f->change(f->change_arg);
		if (write(tell, &c, 1) != 1)
			break;
	}
	_exit(0);
}

static void start_owner(struct fix *f)
{
	pid_t parent = getpid();
	int down[2], up[2];
	char path[40];

	check_ret(pipe2(down, O_CLOEXEC), 0);
	check_ret(pipe2(up, O_CLOEXEC), 0);
	f->owner = check_ok(fork());
	if (f->owner == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(down[1]);
		if (getppid() == parent)
			be_owner(f, down[0], up[1]);
		_exit(0);
	}
	close(down[0]);
	close(up[1]);
	f->tell = down[1];
	f->told = up[0];
	snprintf(path, sizeof(path), "/proc/%d/mem", f->owner);
	check_ret(aspace_new(check_ok(open(path, O_RDWR | O_CLOEXEC)), &f->as),
		  0);
}

/* It calls f->change(), as it was when it was started. */
static void tell_owner(const struct fix *f)
{
	char c = 'x';

	check_ret(write(f->tell, &c, 1), 1);
	check_ret(read(f->told, &c, 1), 1);
}

/* Memory of the test is guest memory. */
static void add_region(struct fix *f, void *at, size_t size)
{
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_true(f->n < MAX_REGIONS);
	f->region[f->n++] = (struct vhost_memory_region){
		.guest_phys_addr = (uintptr_t)at,
		.userspace_addr = (uintptr_t)at,
		.memory_size = size,
	};
}

static uint8_t *add_shared(struct fix *f, int fd, size_t size, off_t off)
{
	void *at =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off);

	add_region(f, at, size);
	return at;
}

static int new_memfd(size_t size, unsigned int flags)
{
	int fd = memfd_create("ram", MFD_CLOEXEC | flags);

	if (fd >= 0)
		check_ret(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* A memfd as guest memory; @fd: of it */
static uint8_t *add_memfd(struct fix *f, size_t size, int *fd)
{
	*fd = check_ok(new_memfd(size, 0));
	return add_shared(f, *fd, size, 0);
}

/* ---- the device ---- */

static void find(struct fix *f)
{
	const struct taker_order who = { .tid = f->owner, .owner = f->owner };

	owner_maps_free(&f->found);
	check_ret(peer_find_maps(&who, f->region, f->n, &f->budget, NULL, &tag,
				 &f->found),
		  0);
}

static void apply(struct fix *f)
{
	struct aspace_map **maps;

	check_ret(owner_maps_apply(&f->found, f->as, &maps, &f->nmaps), 0);
	assert_true(f->nmaps <= MAX_REGIONS);
	memcpy(f->map, maps, f->nmaps * sizeof(*maps));
	check_ret(aspace_set_maps(f->as, maps, f->nmaps), 0);
	free(maps);
}

static void set_table(struct fix *f)
{
	find(f);
	apply(f);
	map_budget_commit(&f->budget, &f->found);
}

/* What is written at @at here is seen by the device, and the other way round.
 */
static void check_shared(const struct fix *f, uint8_t *at)
{
	uint8_t *ptr = aspace_ptr(f->as, (uintptr_t)at, 1);

	assert_non_null(ptr);
	assert_ptr_not_equal(ptr, at);
	*at = 0x5a;
	assert_int_equal(*ptr, 0x5a);
	*ptr = 0xa5;
	assert_int_equal(*at, 0xa5);
}

static bool may_open_map_files(const struct fix *f, const void *at, size_t size)
{
	uintptr_t start = (uintptr_t)at;
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", f->owner,
		 start, start + size);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* ---- kinds of memory ---- */

static void a_memfd_is_mapped(void **state)
{
	struct fix *f = *state;
	struct stat st;
	int fd;
	uint8_t *at = add_memfd(f, 4 * PAGE, &fd);

	start_owner(f);
	find(f);
	check_ret(fstat(fd, &st), 0);
	close(fd);
	assert_int_equal(f->found.nmaps, 1);
	assert_int_equal(f->found.nfds, 1);
	assert_int_equal(f->found.map[0].uva, (uintptr_t)at);
	assert_int_equal(f->found.map[0].size, 4 * PAGE);
	assert_int_equal(f->found.map[0].off, 0);
	assert_int_equal(f->found.map[0].dev, st.st_dev);
	assert_int_equal(f->found.map[0].ino, st.st_ino);
	assert_int_equal(f->found.map[0].file, 0);
	assert_int_equal(f->counted, 1);
	apply(f);
	map_budget_commit(&f->budget, &f->found);
	assert_int_equal(f->nmaps, 1);
	check_shared(f, at + 3 * PAGE);
}

static void huge_pages_are_mapped(void **state)
{
	struct fix *f = *state;
	uint8_t *at;
	int fd;

	add_huge_pages(f, 1);
	fd = new_memfd(HUGE_PAGE, MFD_HUGETLB | MFD_HUGE_2MB);
	if (fd < 0)
		skip_because("no huge pages: %s", strerror(errno));
	at = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		close(fd);
		skip_because("no huge page is free");
	}
	add_region(f, at, HUGE_PAGE);
	start_owner(f);
	set_table(f);
	close(fd);
	assert_int_equal(f->nmaps, 1);
	check_shared(f, at + HUGE_PAGE - 1);
}

static void shared_anonymous_memory_is_mapped(void **state)
{
	struct fix *f = *state;
	uint8_t *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	add_region(f, at, 2 * PAGE);
	start_owner(f);
	if (!may_open_map_files(f, at, 2 * PAGE))
		skip_because("map_files: %s", strerror(errno));
	set_table(f);
	assert_int_equal(f->nmaps, 1);
	check_shared(f, at + PAGE);
}

static void private_memory_is_not_mapped(void **state)
{
	struct fix *f = *state;
	uint8_t *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct aspace_range r = { (uintptr_t)at, &(uint8_t){ 0 }, 1 };

	add_region(f, at, PAGE);
	*at = 0x5a;
	start_owner(f);
	set_table(f);
	assert_int_equal(f->nmaps, 0);
	check_ret(aspace_read(f->as, &r, 1), 0);
	assert_int_equal(*(uint8_t *)r.ptr, 0x5a);
}

/* Upwards in the file, downwards in the addresses. */
static void a_file_has_one_descriptor_for_all_its_mappings(void **state)
{
	enum { N = 3 };
	struct fix *f = *state;
	int fd = check_ok(new_memfd(N * PAGE, 0));
	uint8_t *at = mmap(NULL, 2 * N * PAGE, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	for (unsigned int i = 0; i < N; i++)
		add_region(f,
			   mmap(at + 2 * (N - 1 - i) * PAGE, PAGE,
				PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
				fd, (off_t)(i * PAGE)),
			   PAGE);
	close(fd);
	start_owner(f);
	if (!may_open_map_files(f, at, PAGE))
		skip_because("map_files: %s", strerror(errno));
	set_table(f);
	assert_int_equal(f->found.nfds, 1);
	assert_int_equal(f->nmaps, N);
	for (unsigned int i = 0; i < N; i++) {
		assert_int_equal(f->map[i]->uva, (uintptr_t)at + 2 * i * PAGE);
		assert_int_equal(f->map[i]->off, (N - 1 - i) * PAGE);
		check_shared(f, at + 2 * i * PAGE);
	}
	munmap(at, 2 * N * PAGE);
	f->n = 0;
}

/* ---- what must not be mapped ---- */

/* The owner has the memory for writing, and of its file a descriptor that is
 * not. */
static void no_descriptor_is_for_reading_only(void **state)
{
	struct fix *f = *state;
	char path[40];
	int fd, ro;

	add_memfd(f, PAGE, &fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = check_ok(open(path, O_RDONLY | O_CLOEXEC));
	close(fd);
	start_owner(f);
	set_table(f);
	assert_int_equal(f->nmaps, f->found.nfds);
	for (size_t i = 0; i < f->found.nfds; i++)
		assert_int_equal(fcntl(f->found.fd[i], F_GETFL) & O_ACCMODE,
				 O_RDWR);
	close(ro);
}

/* It has the memory for writing since before the seal. */
static void sealed_memory_is_not_mapped(void **state)
{
	struct fix *f = *state;
	int fd = check_ok(
		memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	uint8_t *at;

	check_ok(ftruncate(fd, PAGE));
	at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	add_region(f, at, PAGE);
	check_ok(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	start_owner(f);
	find(f);
	assert_int_equal(f->found.nmaps, 0);
	assert_int_equal(f->found.nfds, 0);
	close(fd);
}

static void memory_that_is_no_regular_file_is_not_mapped(void **state)
{
	struct fix *f = *state;
	const struct tpacket_req ring = {
		.tp_block_size = (unsigned int)PAGE,
		.tp_block_nr = 1,
		.tp_frame_size = (unsigned int)PAGE,
		.tp_frame_nr = 1,
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0)
		skip_because("packet socket: %s", strerror(errno));
	check_ret(
		setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof(ring)),
		0);
	add_shared(f, fd, PAGE, 0);
	start_owner(f);
	find(f);
	close(fd);
	assert_int_equal(f->found.nmaps, 0);
	assert_int_equal(f->found.nfds, 0);
}

/* What the owner has when map_files is opened is gone when maps is read again.
 */
static struct fix *changes_at_open;

int __real_taker_take(const struct taker_order *o, int *fd);
int __wrap_taker_take(const struct taker_order *o, int *fd);

int __wrap_taker_take(const struct taker_order *o, int *fd)
{
	struct fix *f = changes_at_open;
	int ret = __real_taker_take(o, fd);

	if (f && o->kind == TAKER_MAPPED) {
		changes_at_open = NULL;
		tell_owner(f);
	}
	return ret;
}

static void unmap_region(void *arg)
{
	const struct vhost_memory_region *r = arg;

	munmap((void *)(uintptr_t)r->userspace_addr, r->memory_size);
}

static void write_protect_region(void *arg)
{
	const struct vhost_memory_region *r = arg;

	mprotect((void *)(uintptr_t)r->userspace_addr, r->memory_size,
		 PROT_READ);
}

static void check_change_at_open(struct fix *f, void (*change)(void *arg))
{
	uint8_t *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	add_region(f, at, PAGE);
	f->change = change;
	f->change_arg = &f->region[0];
	start_owner(f);
	if (!may_open_map_files(f, at, PAGE))
		skip_because("map_files: %s", strerror(errno));
	changes_at_open = f;
	find(f);
	assert_null(changes_at_open);
	assert_int_equal(f->found.nmaps, 0);
	assert_int_equal(f->found.nfds, 0);
	assert_int_equal(f->counted, 0);
}

static void memory_that_goes_while_it_is_opened_is_not_mapped(void **state)
{
	check_change_at_open(*state, unmap_region);
}

static void memory_made_read_only_while_it_is_opened_is_not_mapped(void **state)
{
	check_change_at_open(*state, write_protect_region);
}

static void close_descriptor(void *arg)
{
	close(*(int *)arg);
}

static void with_a_userfaultfd_nothing_is_mapped(void **state)
{
	struct fix *f = *state;
	int uffd, fd[2];

	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (uffd < 0)
		skip_because("no userfaultfd: %s", strerror(errno));
	add_memfd(f, PAGE, &fd[0]);
	f->change = close_descriptor;
	f->change_arg = &uffd;
	start_owner(f);
	find(f);
	assert_int_equal(f->found.nmaps, 0);
	assert_int_equal(f->found.nfds, 0);
	assert_int_equal(f->counted, 0);
	tell_owner(f);
	set_table(f);
	assert_int_equal(f->nmaps, 1);
	end_owner(f);

	/* one that is in force, and a new one */
	add_memfd(f, PAGE, &fd[1]);
	start_owner(f);
	set_table(f);
	close(uffd);
	close(fd[0]);
	close(fd[1]);
	assert_int_equal(f->nmaps, 0);
	assert_int_equal(f->found.nfds, 0);
	assert_int_equal(f->counted, 0);
}

/* Of the owner's own page: readable only, then not at all. */
static void what_the_owner_may_not_touch_is_barred(void **state)
{
	struct fix *f = *state;
	uint8_t c = 0;
	uint8_t *at = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct aspace_range r = { (uintptr_t)at, &c, 1 };

	add_region(f, at, 3 * PAGE);
	memset(at, 0x5a, 3 * PAGE);
	check_ret(mprotect(at + PAGE, PAGE, PROT_READ), 0);
	check_ret(mprotect(at + 2 * PAGE, PAGE, PROT_NONE), 0);
	start_owner(f);
	set_table(f);
	check_ret(aspace_read(f->as, &r, 1), 0);
	check_ret(aspace_write(f->as, &r, 1), 0);
	r.uva += PAGE;
	check_ret(aspace_read(f->as, &r, 1), 0);
	check_ret(aspace_write(f->as, &r, 1), -EFAULT);
	r.uva += PAGE;
	check_ret(aspace_read(f->as, &r, 1), -EFAULT);
	check_ret(aspace_write(f->as, &r, 1), -EFAULT);
}

/* ---- limits ---- */

static void memory_of_too_many_files_is_copied(void **state)
{
	enum { N = OWNER_FILES_MAX + 8 };
	struct fix *f = *state;
	int fd[N];

	for (unsigned int i = 0; i < N; i++)
		add_memfd(f, PAGE, &fd[i]);
	start_owner(f);
	set_table(f);
	for (unsigned int i = 0; i < N; i++)
		close(fd[i]);
	assert_int_equal(f->found.nfds, OWNER_FILES_MAX);
	assert_int_equal(f->nmaps, OWNER_FILES_MAX);
	assert_int_equal(f->counted, OWNER_FILES_MAX);
}

/* The same where there are no descriptors of the owner. */
static void files_without_a_descriptor_have_the_same_limit(void **state)
{
	enum { N = OWNER_FILES_MAX + 8 };
	struct fix *f = *state;
	int fd;

	for (unsigned int i = 0; i < N; i++) {
		add_memfd(f, PAGE, &fd);
		close(fd);
	}
	start_owner(f);
	if (!may_open_map_files(
		    f, (void *)(uintptr_t)f->region[0].userspace_addr, PAGE))
		skip_because("map_files: %s", strerror(errno));
	set_table(f);
	assert_int_equal(f->found.nfds, OWNER_FILES_MAX);
	assert_int_equal(f->nmaps, OWNER_FILES_MAX);
}

static void memory_above_the_budget_is_copied(void **state)
{
	enum { N = 3 };
	struct fix *f = *state;
	int fd[N];

	f->most = N - 1;
	for (unsigned int i = 0; i < N; i++)
		add_memfd(f, PAGE, &fd[i]);
	start_owner(f);
	set_table(f);
	assert_int_equal(f->nmaps, N - 1);
	assert_int_equal(f->found.nfds, N - 1);
	f->most = N;
	find(f);
	assert_int_equal(f->counted, N);
	map_budget_abort(&f->budget, &f->found);
	assert_int_equal(f->counted, N - 1);
	for (unsigned int i = 0; i < N; i++)
		close(fd[i]);
}

/* ---- the table before ---- */

static void a_mapping_that_is_held_stays(void **state)
{
	struct fix *f = *state;
	struct aspace_map *before;
	uint8_t *at;
	int fd;

	at = add_memfd(f, PAGE, &fd);
	start_owner(f);
	set_table(f);
	before = f->map[0];
	set_table(f);
	assert_int_equal(f->nmaps, 1);
	assert_ptr_equal(f->map[0], before);
	assert_int_equal(f->counted, 1);
	check_shared(f, at);
	close(fd);
}

static void another_file_at_the_same_addresses_is_mapped_anew(void **state)
{
	struct fix *f = *state;
	struct aspace_map *before;
	struct stat st;
	uint8_t *at;
	int fd, other;

	at = add_memfd(f, PAGE, &fd);
	start_owner(f);
	set_table(f);
	before = f->map[0];
	find(f);
	other = check_ok(new_memfd(PAGE, 0));
	check_ret(fstat(other, &st), 0);
	check_ret(dup3(other, f->found.fd[0], O_CLOEXEC), f->found.fd[0]);
	f->found.map[0].ino = st.st_ino;
	apply(f);
	map_budget_clear(&f->budget);
	assert_int_equal(f->nmaps, 1);
	assert_ptr_not_equal(f->map[0], before);
	*at = 0x5a;
	assert_int_equal(*f->map[0]->ptr, 0);
	close(other);
	close(fd);
}

/* One free descriptor: maps can be read, but no file of the owner be opened. */
static void find_without_descriptors(struct fix *f)
{
	struct rlimit limit, tight;
	int next;

	owner_maps_free(&f->found);
	next = check_ok(dup(f->tell));
	close(next);
	check_ret(getrlimit(RLIMIT_NOFILE, &limit), 0);
	tight = (struct rlimit){ (rlim_t)next + 1, limit.rlim_max };
	check_ret(setrlimit(RLIMIT_NOFILE, &tight), 0);
	find(f);
	check_ret(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(f->found.nfds, 0);
}

static void what_is_held_needs_no_descriptor(void **state)
{
	struct fix *f = *state;
	struct aspace_map *before;
	int fd;

	add_memfd(f, PAGE, &fd);
	start_owner(f);
	find_without_descriptors(f);
	assert_int_equal(f->found.nmaps, 0); /* no table is in force */
	set_table(f);
	assert_int_equal(f->nmaps, 1);
	before = f->map[0];
	find_without_descriptors(f);
	assert_int_equal(f->found.nmaps, 1);
	assert_int_equal(f->found.map[0].file, OWNER_NO_FILE);
	apply(f);
	assert_int_equal(f->nmaps, 1);
	assert_ptr_equal(f->map[0], before);
	/* one that does not hold it cannot make it */
	check_ret(aspace_set_maps(f->as, NULL, 0), 0);
	apply(f);
	assert_int_equal(f->nmaps, 0);
	map_budget_commit(&f->budget, &f->found);
	assert_int_equal(f->counted, 1);
	close(fd);
}

static void a_file_may_be_truncated_before_it_is_mapped(void **state)
{
	struct fix *f = *state;
	struct aspace_map *lost;
	uint8_t *at;
	int fd;

	aspace_guard_install();
	at = add_memfd(f, 2 * PAGE, &fd);
	start_owner(f);
	find(f);
	check_ret(ftruncate(fd, 0), 0);
	apply(f);
	map_budget_commit(&f->budget, &f->found);
	assert_int_equal(f->nmaps, 1);
	lost = aspace_map_get(f->map[0]);
	aspace_enter(f->as);
	assert_int_equal(*(volatile uint8_t *)(lost->ptr + PAGE), 0);
	assert_true(aspace_faulted(f->as));
	/* it is mapped anew, and counts once */
	check_ret(ftruncate(fd, 2 * (off_t)PAGE), 0);
	set_table(f);
	assert_int_equal(f->nmaps, 1);
	assert_ptr_not_equal(f->map[0], lost);
	assert_int_equal(f->counted, 1);
	check_shared(f, at + PAGE);
	assert_false(aspace_faulted(f->as));
	aspace_map_put(lost);
	close(fd);
}

/* ---- what comes is not trusted ---- */

static struct owner_map whole_file(int fd, uint64_t uva)
{
	struct stat st;

	check_ret(fstat(fd, &st), 0);
	return (struct owner_map){
		.uva = uva, .size = PAGE, .dev = st.st_dev, .ino = st.st_ino
	};
}

static void what_does_not_fit_is_left_out(void **state)
{
	int fd[] = {
		check_ok(new_memfd(2 * PAGE, 0)),
		check_ok(open("/dev/zero", O_RDWR | O_CLOEXEC)),
		check_ok(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)),
	};
	const struct owner_map good = whole_file(fd[0], 0x10000);
	struct owner_map map[] = {
		[0] = good,
		[1] = good,
		[2] = good,
		[3] = good,
		[4] = good,
		[5] = good,
		[6] = good,
		[7] = whole_file(fd[1], 0x80000),
		[8] = whole_file(fd[2], 0x90000),
		[9] = good,
		[10] = good,
	};
	const struct owner_maps m = { .map = map,
				      .nmaps = ARRAY_SIZE(map),
				      .fd = fd,
				      .nfds = ARRAY_SIZE(fd) };
	struct aspace_map **maps;
	struct aspace *as;
	size_t n;

	(void)state;
	map[1].uva += PAGE - 1; /* overlaps */
	map[2].uva = 0x30000;
	map[2].size = 0;
	map[3].uva = 0x40000;
	map[3].file = ARRAY_SIZE(fd);
	map[4].uva = 0x50000;
	map[4].ino++;
	map[5].uva = 0x60000;
	map[5].dev++;
	map[6].uva = 0x70000;
	map[6].off = 1;
	map[7].file = 1; /* a device */
	map[8].file = 2; /* for reading */
	map[9].uva = 0xa0000;
	map[9].off = PAGE;
	map[10].uva = UINT64_MAX - PAGE + 2; /* wraps */

	check_ret(aspace_new(-1, &as), 0);
	check_ret(owner_maps_apply(&m, as, &maps, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(maps[0]->uva, 0x10000);
	assert_int_equal(maps[1]->uva, 0xa0000);
	assert_int_equal(maps[1]->off, PAGE);
	check_ret(aspace_set_maps(as, maps, n), 0);
	free(maps);
	aspace_free(as);
	for (size_t i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
}

#define OWNER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OWNER(a_memfd_is_mapped),
		OWNER(huge_pages_are_mapped),
		OWNER(shared_anonymous_memory_is_mapped),
		OWNER(private_memory_is_not_mapped),
		OWNER(a_file_has_one_descriptor_for_all_its_mappings),
		OWNER(no_descriptor_is_for_reading_only),
		OWNER(sealed_memory_is_not_mapped),
		OWNER(memory_that_is_no_regular_file_is_not_mapped),
		OWNER(memory_that_goes_while_it_is_opened_is_not_mapped),
		OWNER(memory_made_read_only_while_it_is_opened_is_not_mapped),
		OWNER(with_a_userfaultfd_nothing_is_mapped),
		OWNER(what_the_owner_may_not_touch_is_barred),
		OWNER(memory_of_too_many_files_is_copied),
		OWNER(files_without_a_descriptor_have_the_same_limit),
		OWNER(memory_above_the_budget_is_copied),
		OWNER(a_mapping_that_is_held_stays),
		OWNER(another_file_at_the_same_addresses_is_mapped_anew),
		OWNER(what_is_held_needs_no_descriptor),
		OWNER(a_file_may_be_truncated_before_it_is_mapped),
		OWNER(what_does_not_fit_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
