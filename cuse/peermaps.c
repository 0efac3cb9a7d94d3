/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own mappings of what the owner shares: memfd, shm, hugetlbfs, shared
 * anonymous memory. Found through /proc/PID/maps by device and inode, never by
 * name, and mapped a whole VMA at a time (which suits huge pages and rings that
 * lie outside the regions).
 *
 * The caller shapes everything that is read here, while it is read. What must
 * not happen is that we, with more rights than it has, map something writable
 * that it may only read:
 *
 * - Only VMAs that are shared and writable count; who has one had the file open
 *   for writing.
 * - First choice is a descriptor of its own on that inode (pidfd_getfd): the
 *   rights are then its rights, and no right of ours is used at all.
 * - Memory without a descriptor (shared anonymous memory, or closed since) is
 *   opened through /proc/PID/map_files. The caller could put another file there
 *   between our look at maps and the open, so: open with O_PATH, which runs no
 *   driver and pins the inode, compare device and inode, then read maps once
 *   more. While the inode is pinned its number cannot be reused, so a VMA that
 *   still shows it, shared and writable, is proof.
 * - Regular files only: opening a device would have side effects.
 *
 * The rest is copied through /proc/PID/mem, which also reaches pages that the
 * owner itself may not read or write. Which those are is noted here, as of this
 * moment, and copies leave them alone: what the owner forbids itself later
 * (mprotect) counts from the next SET_MEM_TABLE on.
 *
 * A process with a userfaultfd (QEMU: post-copy migration, background
 * snapshot) wants to hear of every first touch of its memory. A mapping of ours
 * would go past it, and even give pages to the file that are yet to come; so
 * as long as one is open, all memory is copied, which goes through it. One that
 * another process holds is not seen.
 *
 * The caller may serve the file's file system itself and never answer. Then
 * only this session's worker hangs. Files are opened a few at a time
 * (PINNED_MAX), so that it holds few descriptors meanwhile.
 */
#include "peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>

#include "bytes.h"
#include "parse.h"
#include "vmas.h"

/* Stretches of addresses that the caller itself may not read or write: QEMU has
 * some hundred. */
#define BARS_MAX 16384
/* Descriptors of the caller that are looked at; QEMU has some hundred. */
#define FDS_MAX 16384
/* Files that are held open at once; maps is read once more for so many. */
#define PINNED_MAX 16

/* A file behind some VMAs. */
struct vma_file {
	dev_t dev;
	ino_t ino;
	int path_fd; /* O_PATH, to be proven; -1 */
	bool done;   /* mapped, or nothing is left to be tried */
};

/* One search. */
struct search {
	pid_t tid;
	const struct log_tag *tag;
	struct log_limit *limit;
	const struct peer_budget *budget;
	const struct span *spans;
	size_t nspans;
	struct vma_list vmas;
	struct vma_file *files;
	size_t nfiles;
	struct aspace_map **maps;
	size_t nmaps;
	bool userfault; /* the caller has a userfaultfd */
};

static void read_maps(const struct search *s, struct vma_list *vmas,
		      struct bar_list *bars)
{
	char path[40];
	FILE *f;

	vmas->n = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", s->tid);
	f = fopen(path, "re");
	if (!f) {
		log_debug(s->tag, "%s: %s; memory is copied", path,
			  strerror(errno));
		return;
	}
	vmas_collect(f, s->spans, s->nspans, vmas, bars);
	fclose(f);
	if (vmas->n == PEER_MAPS_MAX)
		log_limited(s->limit, s->tag, LOG_LEVEL_WARNING,
			    "more than %d shared mappings, the rest is copied",
			    PEER_MAPS_MAX);
}

static struct vma_file *file_of(struct search *s, const struct vma *vma)
{
	for (size_t i = 0; i < s->nfiles; i++) {
		struct vma_file *f = &s->files[i];

		if (f->dev == vma->dev && f->ino == vma->ino)
			return f;
	}
	return NULL;
}

/* Is @fd the regular file that maps showed? */
static bool file_is(int fd, const struct vma_file *f)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_dev == f->dev && st.st_ino == f->ino;
}

/* Mappings that we hold (and have not lost) stay; of the others, list files. */
static void keep_or_list(struct search *s, const struct aspace *as)
{
	for (size_t i = 0; i < s->vmas.n; i++) {
		const struct vma *vma = &s->vmas.vma[i];
		struct aspace_map *m = aspace_find_map(as, vma->start);

		if (m && m->uva == vma->start &&
		    m->size == vma->end - vma->start && m->dev == vma->dev &&
		    m->ino == vma->ino && m->off == vma->off) {
			s->maps[s->nmaps++] = aspace_map_get(m);
		} else if (!file_of(s, vma)) {
			s->files[s->nfiles++] = (struct vma_file){
				.dev = vma->dev,
				.ino = vma->ino,
				.path_fd = -1,
			};
		}
	}
}

static bool is_held(const struct search *s, const struct vma *vma)
{
	for (size_t i = 0; i < s->nmaps; i++) {
		if (s->maps[i]->uva == vma->start)
			return true;
	}
	return false;
}

static struct aspace_map *map_vma(const struct search *s, const struct vma *vma,
				  int fd)
{
	uint64_t size = vma->end - vma->start;
	struct aspace_map *map;
	void *ptr;

	if (!s->budget->take(s->budget->ctx, size))
		return NULL;
	ptr = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_NORESERVE, fd, (off_t)vma->off);
	if (ptr == MAP_FAILED) {
		log_debug(s->tag, "cannot map %" PRIu64 " bytes: %s; copied",
			  size, strerror(errno));
		s->budget->give(s->budget->ctx, size);
		return NULL;
	}
	/* A guest's memory has no place in our core dumps. */
	madvise(ptr, size, MADV_DONTDUMP);
	map = aspace_map_new(vma->start, size, ptr);
	if (!map) {
		munmap(ptr, size);
		s->budget->give(s->budget->ctx, size);
		return NULL;
	}
	map->gone = s->budget->give;
	map->gone_ctx = s->budget->ctx;
	map->dev = vma->dev;
	map->ino = vma->ino;
	map->off = vma->off;
	return map;
}

/* All that the caller has of the file. @fd: may be mapped writable; borrowed */
static void map_file(struct search *s, struct vma_file *f, int fd)
{
	for (size_t i = 0; i < s->vmas.n; i++) {
		const struct vma *vma = &s->vmas.vma[i];
		struct aspace_map *map;

		if (vma->dev != f->dev || vma->ino != f->ino || is_held(s, vma))
			continue;
		map = map_vma(s, vma, fd);
		if (map)
			s->maps[s->nmaps++] = map;
	}
	f->done = true;
}

/* Maps by the caller's descriptor @number, if it is of one of the files and
 * writable. */
static void try_descriptor(struct search *s, int table, int dir,
			   const char *number)
{
	struct vma key = { 0 };
	struct vma_file *f;
	struct stat st;
	uint64_t n;
	int fd;

	if (parse_number(number, 0, INT_MAX, &n) < 0 ||
	    fstatat(dir, number, &st, 0) < 0 || !S_ISREG(st.st_mode))
		return;
	key.dev = st.st_dev;
	key.ino = st.st_ino;
	f = file_of(s, &key);
	if (!f || f->done)
		return;
	fd = pidfd_getfd(table, (int)n, 0);
	if (fd < 0)
		return;
	/* The number may mean another file by now. */
	if (file_is(fd, f) && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR)
		map_file(s, f, fd);
	close(fd);
}

static bool is_userfault(int dir, const char *number)
{
	char target[32];
	ssize_t n = readlinkat(dir, number, target, sizeof(target) - 1);

	if (n < 0)
		return false;
	target[n] = '\0';
	return strcmp(target, "anon_inode:[userfaultfd]") == 0;
}

/* Look through the caller's descriptors for the files, and a userfaultfd. */
static void search_descriptors(struct search *s)
{
	struct dirent *entry;
	char path[40];
	int table;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", s->tid);
	dir = opendir(path);
	if (!dir)
		return;
	table = peer_open_table(s->tid, s->limit, s->tag);
	for (size_t i = 0; i < FDS_MAX && (entry = readdir(dir)); i++) {
		if (entry->d_name[0] == '.')
			continue;
		if (is_userfault(dirfd(dir), entry->d_name))
			s->userfault = true;
		else if (table >= 0 && s->nfiles)
			try_descriptor(s, table, dirfd(dir), entry->d_name);
	}
	if (table >= 0)
		close(table);
	closedir(dir);
}

/* Pin what map_files has now under the addresses of @vma. */
static void pin(const struct search *s, const struct vma *vma,
		struct vma_file *f)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64,
		 s->tid, vma->start, vma->end);
	f->path_fd = open(path, O_PATH | O_CLOEXEC);
	if (f->path_fd < 0) {
		log_debug(s->tag, "%s: %s; copied", path, strerror(errno));
		return;
	}
	if (!file_is(f->path_fd, f)) {
		close(f->path_fd);
		f->path_fd = -1;
	}
}

/* maps still shows the pinned inode, shared and writable: open it. */
static void map_pinned(struct search *s, struct vma_file *f)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->path_fd);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		log_debug(s->tag, "cannot open inode %ju: %s; copied",
			  (uintmax_t)f->ino, strerror(errno));
		return;
	}
	map_file(s, f, fd);
	close(fd);
}

/* Pins some of the files that are left, from VMA *@next on; how many. */
static size_t pin_some(struct search *s, size_t *next)
{
	size_t pinned = 0;

	for (; *next < s->vmas.n && pinned < PINNED_MAX; ++*next) {
		const struct vma *vma = &s->vmas.vma[*next];
		struct vma_file *f = file_of(s, vma);

		if (!f || f->done || f->path_fd >= 0)
			continue;
		pin(s, vma, f);
		pinned += f->path_fd >= 0;
	}
	return pinned;
}

static void unpin_all(struct search *s)
{
	for (size_t i = 0; i < s->nfiles; i++) {
		struct vma_file *f = &s->files[i];

		if (f->path_fd < 0)
			continue;
		close(f->path_fd);
		f->path_fd = -1;
		f->done = true;
	}
}

/* For files that the caller has no descriptor of. */
static void search_map_files(struct search *s)
{
	struct vma_list again = { .max = PEER_MAPS_MAX };
	size_t next = 0;

	again.vma = calloc(again.max, sizeof(*again.vma));
	while (again.vma && pin_some(s, &next)) {
		read_maps(s, &again, NULL);
		for (size_t i = 0; i < again.n; i++) {
			struct vma_file *f = file_of(s, &again.vma[i]);

			if (f && !f->done && f->path_fd >= 0)
				map_pinned(s, f);
		}
		unpin_all(s);
	}
	free(again.vma);
}

static void forget_maps(struct search *s)
{
	while (s->nmaps)
		aspace_map_put(s->maps[--s->nmaps]);
}

static void search_run(struct search *s, const struct aspace *as)
{
	size_t held;

	if (s->vmas.n == 0)
		return;
	keep_or_list(s, as);
	held = s->nmaps;
	search_descriptors(s);
	if (s->userfault) {
		forget_maps(s);
		log_limited(s->limit, s->tag, LOG_LEVEL_INFO,
			    "process %d has a userfaultfd: memory is copied",
			    s->tid);
		return;
	}
	search_map_files(s);
	log_debug(s->tag, "%zu shared mappings: %zu held, %zu new, %zu copied",
		  s->vmas.n, held, s->nmaps - held, s->vmas.n - s->nmaps);
}

/* Shared mappings, and what copies shall not touch. */
static int read_mappings(struct search *s, struct aspace *as)
{
	struct bar_list bars = { .max = BARS_MAX };
	struct aspace_bar *fit;

	bars.bar = calloc(bars.max, sizeof(*bars.bar));
	if (!bars.bar)
		return -ENOMEM;
	read_maps(s, &s->vmas, &bars);
	fit = realloc(bars.bar, (bars.n + 1) * sizeof(*fit));
	aspace_set_bars(as, fit ? fit : bars.bar, bars.n);
	return 0;
}

int peer_find_maps(pid_t tid, struct aspace *as,
		   const struct vhost_memory_region *regions, size_t n,
		   const struct peer_budget *budget, struct log_limit *limit,
		   const struct log_tag *tag, struct aspace_map ***maps,
		   size_t *nmaps)
{
	struct search s = { .tid = tid,
			    .limit = limit,
			    .budget = budget,
			    .tag = tag,
			    .vmas.max = PEER_MAPS_MAX };
	struct span *spans;
	int ret = -ENOMEM;

	*maps = NULL;
	*nmaps = 0;
	spans = calloc(n + 1, sizeof(*spans));
	s.vmas.vma = calloc(s.vmas.max, sizeof(*s.vmas.vma));
	s.files = calloc(PEER_MAPS_MAX, sizeof(*s.files));
	s.maps = calloc(PEER_MAPS_MAX, sizeof(struct aspace_map *));
	if (!spans || !s.vmas.vma || !s.files || !s.maps)
		goto out;
	s.nspans = spans_of_regions(regions, n, spans);
	s.spans = spans;
	ret = read_mappings(&s, as);
	if (ret < 0)
		goto out;
	search_run(&s, as);
	*maps = s.maps;
	*nmaps = s.nmaps;
	s.maps = NULL;
	ret = 0;
out:
	free(s.maps);
	free(s.files);
	free(s.vmas.vma);
	free(spans);
	return ret;
}
