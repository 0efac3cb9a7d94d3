/* SPDX-License-Identifier: BSD-3-Clause */
#include "arena.h"

#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A process that only is there, with the arena at the same address. */
static pid_t child_start(void)
{
	pid_t parent = getpid(), pid;

	pid = check_ok(fork());
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	for (;;)
		pause();
}

void arena_open(struct arena *a, enum arena_mode mode)
{
	uint8_t *all;

	a->mode = mode;
	a->child = -1;
	a->memfd = check_ok(memfd_create("arena", MFD_CLOEXEC));
	check_ret(ftruncate(a->memfd, ARENA_SIZE), 0);
	all = mmap(NULL, ARENA_SIZE + 2 * PAGE, PROT_NONE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(all, MAP_FAILED);
	a->base = mmap(all + PAGE, ARENA_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, a->memfd, 0);
	assert_ptr_equal(a->base, all + PAGE);
	if (mode == FROM_CHILD)
		a->child = child_start();
}

void arena_end_child(struct arena *a)
{
	if (a->child < 0)
		return;
	kill(a->child, SIGKILL);
	waitpid(a->child, NULL, 0);
	a->child = -1;
}

void arena_close(struct arena *a)
{
	arena_end_child(a);
	munmap(a->base - PAGE, ARENA_SIZE + 2 * PAGE);
	close(a->memfd);
}

static struct aspace_map *map_part(const struct arena *a, uint64_t off,
				   uint64_t size)
{
	struct aspace_map *map;
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, a->memfd,
		       (off_t)off);

	assert_ptr_not_equal(p, MAP_FAILED);
	map = aspace_map_new(arena_uva(a, off), size, p);
	assert_non_null(map);
	return map;
}

size_t arena_maps(const struct arena *a, struct aspace_map *maps[2])
{
	size_t n = 0;

	if (a->mode == MAPPED || a->mode == RAM_MAPPED)
		maps[n++] = map_part(a, RINGS_SIZE, ARENA_SIZE - RINGS_SIZE);
	if (a->mode == MAPPED || a->mode == RINGS_MAPPED)
		maps[n++] = map_part(a, 0, RINGS_SIZE);
	return n;
}

/* The pages on either side, which a memory file would reach. */
static void bar_guards(const struct arena *a, struct aspace *as)
{
	uint64_t start = arena_uva(a, 0), end = arena_uva(a, ARENA_SIZE);
	struct aspace_bar *bars = calloc(2, sizeof(*bars));

	assert_non_null(bars);
	bars[0] = (struct aspace_bar){ start - PAGE, start, true, true };
	bars[1] = (struct aspace_bar){ end, end + PAGE, true, true };
	aspace_set_bars(as, bars, 2);
}

static int fault_in(void *ctx, bool write, uint64_t uva, uint64_t len)
{
	aspace_fault_in((pid_t)(intptr_t)ctx, write, uva, len);
	return 0;
}

struct aspace *arena_aspace(const struct arena *a)
{
	pid_t pid = a->mode == MAPPED       ? -1
		    : a->mode == FROM_CHILD ? a->child
					    : getpid();
	struct aspace_map *maps[2];
	struct aspace *as;
	char path[32];
	int fd = -1;
	size_t n;

	if (pid > 0) {
		snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
		fd = check_ok(open(path, O_RDWR | O_CLOEXEC));
	}
	check_ret(aspace_new(fd, &as), 0);
	if (pid > 0)
		aspace_set_fault_in(as, fault_in, (void *)(intptr_t)pid);
	bar_guards(a, as);
	n = arena_maps(a, maps);
	check_ret(aspace_set_maps(as, maps, n), 0);
	return as;
}

void arena_table(const struct arena *a, struct vhost_memory_region r[3])
{
	r[0] = (struct vhost_memory_region){
		.guest_phys_addr = GPA_A,
		.memory_size = RAM_SIZE,
		.userspace_addr = arena_uva(a, RAM_A_OFF),
	};
	r[1] = (struct vhost_memory_region){
		.guest_phys_addr = GPA_B,
		.memory_size = RAM_SIZE,
		.userspace_addr = arena_uva(a, RAM_B_OFF),
	};
	r[2] = (struct vhost_memory_region){
		.guest_phys_addr = GPA_C,
		.memory_size = RAM_SIZE,
		.userspace_addr = arena_uva(a, RAM_C_OFF),
	};
}

uint8_t *arena_ram(const struct arena *a, uint64_t gpa)
{
	if (gpa >= GPA_C && gpa <= GPA_C + RAM_SIZE)
		return a->base + RAM_C_OFF + (gpa - GPA_C);
	if (gpa >= GPA_B && gpa <= GPA_B_END)
		return a->base + RAM_B_OFF + (gpa - GPA_B);
	assert_in_range(gpa, GPA_A, GPA_B);
	return a->base + RAM_A_OFF + (gpa - GPA_A);
}

int event_new(void)
{
	return check_ok(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

uint64_t event_take(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}
