/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peermaps.c finds what the owner shares: memfd, shm, hugetlbfs, shared
 * anonymous memory. It is found through /proc/PID/maps by device and inode,
 * never by name. The result is a descriptor of each file, and the mappings, a
 * whole VMA each (which suits huge pages and rings that lie outside the
 * regions); owner_maps.c maps them.
 *
 * The caller shapes everything that is read here, while it is read. What must
 * not happen is that we, with more rights than it has, open something writable
 * that it may only read:
 *
 * - Only VMAs that are shared and writable count: whichever process has one had
 *   the file open for writing.
 * - First choice is a descriptor of its own on that inode (pidfd_getfd): the
 *   rights are then its rights, and no right of ours is used at all.
 * - Memory without a descriptor (shared anonymous memory, or closed since) is
 *   opened through /proc/PID/map_files. The caller could put another file there
 *   between our look at maps and the open, so: open with O_PATH, which runs no
 *   driver and pins the inode, compare device and inode, then read maps once
 *   more. While the inode is pinned its number cannot be reused, so a VMA that
 *   still shows it, shared and writable, is proof.
 * - Regular files only: opening a device would have side effects.
 * - Files of local file systems only (TAKER_FILE): the caller may itself serve
 *   another one and never answer, and then a close(2) keeps this process from
 *   ending. So takers (taker.h) take the descriptors and look at them. What is
 *   asked of a file here, before that, does not ask its file system
 *   (AT_STATX_DONT_SYNC).
 * - A mapping without a descriptor of either kind is in the result only if the
 *   table in force has it. The device may still hold it from then, which pins
 *   the inode, and goes on with it; it maps nothing new by it.
 *
 * The rest is copied through /proc/PID/mem, which also reaches pages that the
 * owner itself may not read or write. Which those are is noted here, as of this
 * moment, and copies leave them alone: what the owner forbids itself later
 * (mprotect) counts from the next SET_MEM_TABLE on.
 *
 * A process with a userfaultfd (QEMU: post-copy migration, background snapshot)
 * has to be told of each first access to its memory. Accesses through a mapping
 * of ours would bypass the userfaultfd, and even add pages to the file that the
 * process has yet to fill; so while one is open, all memory is copied, which
 * goes through it. A userfaultfd that another process holds is not seen.
 *
 * A file system that never answers keeps a taker waiting, and with it the
 * session's worker, until the caller is gone.
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
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "bytes.h"
#include "parse.h"
#include "vmas.h"

/* Descriptors of the caller that are looked at; QEMU has some hundred. */
#define FDS_MAX 16384
/* Files that are pinned at once; maps is read once more for each batch. */
#define PINNED_MAX 16

/* A file behind some VMAs. */
struct vma_file {
	dev_t dev;
	ino_t ino;
	int path_fd; /* O_PATH, to be proven; -1 */
	bool done;   /* found, or nothing is left to be tried */
};

/* State of one search. */
struct search {
	const struct taker_order *who;
	pid_t tid;
	const struct log_tag *tag;
	struct log_limit *limit;
	const struct map_budget *budget;
	const struct span *spans;
	size_t nspans;
	struct vma_list vmas;
	struct vma_file *files;
	size_t nfiles;
	size_t nsought;         /* files that are not done */
	struct owner_maps *out; /* with room for the most there can be */
	bool userfault;         /* the caller has a userfaultfd */
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

static void list_files(struct search *s)
{
	for (size_t i = 0; i < s->vmas.n; i++) {
		const struct vma *vma = &s->vmas.vma[i];

		if (!file_of(s, vma))
			s->files[s->nfiles++] = (struct vma_file){
				.dev = vma->dev,
				.ino = vma->ino,
				.path_fd = -1,
			};
	}
	s->nsought = s->nfiles;
}

static bool has_room(const struct search *s)
{
	return s->out->nfds < OWNER_FILES_MAX;
}

static void file_done(struct search *s, struct vma_file *f)
{
	s->nsought -= !f->done;
	f->done = true;
}

static struct owner_map map_of_vma(const struct vma *vma, uint32_t file)
{
	return (struct owner_map){
		.uva = vma->start,
		.size = vma->end - vma->start,
		.off = vma->off,
		.dev = vma->dev,
		.ino = vma->ino,
		.file = file,
	};
}

/* A seal forbids new writable mappings, but leaves the caller's. */
static bool is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals > 0 && seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);
}

/* Adds the caller's mappings of the file, if there is room. @fd: may be mapped
 * writable; consumed */
static void add_file(struct search *s, struct vma_file *f, int fd)
{
	struct owner_maps *out = s->out;
	size_t had = out->nmaps;

	file_done(s, f);
	for (size_t i = 0; i < s->vmas.n && has_room(s) && !is_sealed(fd);
	     i++) {
		const struct vma *vma = &s->vmas.vma[i];
		struct owner_map m = map_of_vma(vma, (uint32_t)out->nfds);

		if (vma->dev == f->dev && vma->ino == f->ino &&
		    map_budget_take(s->budget, &m))
			out->map[out->nmaps++] = m;
	}
	if (out->nmaps > had)
		out->fd[out->nfds++] = fd;
	else
		close(fd);
}

/* Has a taker take the file from @order on; a descriptor, or -errno. */
static int take_file(struct search *s, struct vma_file *f,
		     struct taker_order *order)
{
	int fd = -1, ret;

	order->dev = f->dev;
	order->ino = f->ino;
	ret = peer_take(order, s->limit, s->tag, &fd);
	if (ret == -EOPNOTSUPP) {
		file_done(s, f);
		log_limited(s->limit, s->tag, LOG_LEVEL_INFO,
			    "shared memory lies on a file system that is not "
			    "local: it is copied");
	}
	return ret < 0 ? ret : fd;
}

/* Takes the caller's descriptor @number, if it is writable and refers to one
 * of the files. */
static void try_descriptor(struct search *s, int dir, const char *number)
{
	struct taker_order order = *s->who;
	struct vma key = { 0 };
	struct vma_file *f;
	struct statx st;
	uint64_t n;
	int fd;

	if (parse_number(number, 0, INT_MAX, &n) < 0 ||
	    statx(dir, number, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO,
		  &st) < 0 ||
	    !S_ISREG(st.stx_mode))
		return;
	key.dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	key.ino = st.stx_ino;
	f = file_of(s, &key);
	if (!f || f->done)
		return;
	order.kind = TAKER_FILE;
	order.number = (int)n;
	fd = take_file(s, f, &order);
	if (fd >= 0)
		add_file(s, f, fd);
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
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", s->tid);
	dir = opendir(path);
	if (!dir)
		return;
	for (size_t i = 0; i < FDS_MAX && (entry = readdir(dir)); i++) {
		if (entry->d_name[0] == '.')
			continue;
		if (is_userfault(dirfd(dir), entry->d_name))
			s->userfault = true;
		else if (s->nsought && has_room(s))
			try_descriptor(s, dirfd(dir), entry->d_name);
	}
	closedir(dir);
}

/* Pins the file that map_files has now at the addresses of @vma. */
static void pin(struct search *s, const struct vma *vma, struct vma_file *f)
{
	struct taker_order order = *s->who;

	order.kind = TAKER_MAPPED;
	order.start = vma->start;
	order.end = vma->end;
	f->path_fd = take_file(s, f, &order);
	if (f->path_fd >= 0)
		return;
	log_debug(s->tag,
		  "/proc/%d/map_files/%" PRIx64 "-%" PRIx64 ": %s; copied",
		  s->tid, vma->start, vma->end, strerror(-f->path_fd));
	f->path_fd = -1;
}

/* maps still shows the pinned inode, shared and writable: open it. */
static void open_pinned(struct search *s, struct vma_file *f)
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
	add_file(s, f, fd);
}

/* Pins some of the files that are left, from VMA *@next on; how many. */
static size_t pin_some(struct search *s, size_t *next)
{
	size_t pinned = 0;

	for (; *next < s->vmas.n && pinned < PINNED_MAX && has_room(s);
	     ++*next) {
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
		file_done(s, f);
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
				open_pinned(s, f);
		}
		unpin_all(s);
	}
	free(again.vma);
}

/* Adds mappings that the table in force has: the device may still hold them,
 * and needs no descriptor. */
static void add_held(struct search *s)
{
	struct owner_maps *out = s->out;
	size_t found = out->nmaps;

	for (size_t i = 0; i < s->vmas.n; i++) {
		struct owner_map m = map_of_vma(&s->vmas.vma[i], OWNER_NO_FILE);
		bool have = false;

		for (size_t k = 0; k < found && !have; k++)
			have = out->map[k].uva == m.uva;
		if (!have && map_budget_has(s->budget, &m))
			out->map[out->nmaps++] = m;
	}
}

static void forget_maps(struct search *s)
{
	struct owner_maps *out = s->out;

	map_budget_abort(s->budget, out);
	out->nmaps = 0;
	while (out->nfds)
		close(out->fd[--out->nfds]);
}

static void search_run(struct search *s)
{
	struct owner_maps *out = s->out;

	if (s->vmas.n == 0)
		return;
	list_files(s);
	search_descriptors(s);
	if (s->userfault) {
		forget_maps(s);
		log_limited(s->limit, s->tag, LOG_LEVEL_INFO,
			    "process %d has a userfaultfd: memory is copied",
			    s->tid);
		return;
	}
	search_map_files(s);
	add_held(s);
	qsort(out->map, out->nmaps, sizeof(*out->map), owner_map_compare);
	if (!has_room(s) && out->nmaps < s->vmas.n)
		log_limited(
			s->limit, s->tag, LOG_LEVEL_WARNING,
			"%d files of shared memory are all that are mapped, "
			"the rest is copied",
			OWNER_FILES_MAX);
	log_debug(s->tag, "%zu shared mappings: %zu of %zu files, %zu copied",
		  s->vmas.n, out->nmaps, out->nfds, s->vmas.n - out->nmaps);
}

/* Reads the shared mappings, and the addresses that copies must not touch. */
static void read_mappings(struct search *s)
{
	struct bar_list bars = { .bar = s->out->bars, .max = OWNER_BARS_MAX };
	struct aspace_bar *fit;

	read_maps(s, &s->vmas, &bars);
	s->out->nbars = bars.n;
	fit = realloc(bars.bar, (bars.n + 1) * sizeof(*fit));
	if (fit)
		s->out->bars = fit;
}

int peer_find_maps(const struct taker_order *who,
		   const struct vhost_memory_region *regions, size_t n,
		   const struct map_budget *budget, struct log_limit *limit,
		   const struct log_tag *tag, struct owner_maps *out)
{
	struct search s = { .who = who,
			    .tid = who->tid,
			    .limit = limit,
			    .budget = budget,
			    .tag = tag,
			    .out = out,
			    .vmas.max = PEER_MAPS_MAX };
	struct span *spans;
	int ret = -ENOMEM;

	*out = (struct owner_maps){
		.map = calloc(PEER_MAPS_MAX, sizeof(*out->map)),
		.fd = calloc(OWNER_FILES_MAX, sizeof(*out->fd)),
		.bars = calloc(OWNER_BARS_MAX, sizeof(*out->bars)),
	};
	spans = calloc(n + 1, sizeof(*spans));
	s.vmas.vma = calloc(s.vmas.max, sizeof(*s.vmas.vma));
	s.files = calloc(PEER_MAPS_MAX, sizeof(*s.files));
	if (out->map && out->fd && out->bars && spans && s.vmas.vma &&
	    s.files) {
		s.nspans = spans_of_regions(regions, n, spans);
		s.spans = spans;
		read_mappings(&s);
		search_run(&s);
		ret = 0;
	} else {
		owner_maps_free(out);
	}
	free(s.files);
	free(s.vmas.vma);
	free(spans);
	return ret;
}
