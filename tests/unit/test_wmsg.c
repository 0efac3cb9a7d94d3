/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_wmsg.c tests the messages between broker and worker process: what one
 * side sends arrives at the other, and what is malformed is refused, with all
 * descriptors closed.
 */
#include "check.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/vhost.h>

#include "abi.h"
#include "arena.h"
#include "bytes.h"
#include "fd.h"
#include "fdmsg.h"
#include "vdev.h"
#include "wmsg.h"

enum { BROKER, PROCESS };

struct fixture {
	int end[2];
	struct wmsg_in in; /* at the worker process's end */
	struct wmsg_in back;
	unsigned int fds; /* open at first */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	check_ret(wmsg_pair(f->end), 0);
	check_ret(wmsg_in_init(&f->in, WMSG_PACKET_MAX, true), 0);
	check_ret(wmsg_in_init(&f->back, WMSG_PACKET_MAX, false), 0);
	f->fds = count_fds();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	wmsg_in_free(&f->in);
	wmsg_in_free(&f->back);
	assert_int_equal(count_fds(), f->fds);
	close(f->end[BROKER]);
	close(f->end[PROCESS]);
	free(f);
	return 0;
}

/* A file whose inode tells it from others. */
static int file_new(void)
{
	return check_ok(memfd_create("test", MFD_CLOEXEC));
}

static ino_t inode(int fd)
{
	struct stat st;

	check_ok(fstat(fd, &st));
	return st.st_ino;
}

static void check_same_file(int got, int want)
{
	assert_int_not_equal(got, want);
	assert_int_equal(inode(got), inode(want));
	assert_int_equal(fcntl(got, F_GETFD), FD_CLOEXEC);
}

/* ---- what is sent arrives ---- */

/* Facts of a memory table with @nmaps mappings of @nfds files and @nbars bars;
 * each array is malloc()ed. */
static struct call_facts table_facts(size_t nmaps, size_t nfds, size_t nbars)
{
	struct call_facts facts = CALL_FACTS_NONE;
	struct owner_maps *m = &facts.maps;

	m->map = calloc(nmaps + 1, sizeof(*m->map));
	m->fd = calloc(nfds + 1, sizeof(*m->fd));
	m->bars = calloc(nbars + 1, sizeof(*m->bars));
	assert_non_null(m->map);
	assert_non_null(m->fd);
	assert_non_null(m->bars);
	for (m->nfds = 0; m->nfds < nfds; m->nfds++)
		m->fd[m->nfds] = file_new();
	for (m->nmaps = 0; m->nmaps < nmaps; m->nmaps++)
		m->map[m->nmaps] = (struct owner_map){
			.uva = m->nmaps * 0x10000,
			.size = 0x1000 + m->nmaps,
			.off = m->nmaps << 12,
			.dev = 7,
			.ino = 1000 + m->nmaps,
			.file = nfds ? (uint32_t)(m->nmaps % nfds)
				     : OWNER_NO_FILE,
		};
	for (m->nbars = 0; m->nbars < nbars; m->nbars++)
		m->bars[m->nbars] = (struct aspace_bar){
			.start = m->nbars * 0x2000,
			.end = m->nbars * 0x2000 + 0x1000,
			.no_read = m->nbars & 1,
			.no_write = m->nbars & 2,
		};
	return facts;
}

static void check_maps(const struct owner_maps *got,
		       const struct owner_maps *want)
{
	assert_int_equal(got->nmaps, want->nmaps);
	assert_int_equal(got->nfds, want->nfds);
	assert_int_equal(got->nbars, want->nbars);
	for (size_t i = 0; i < got->nmaps; i++) {
		assert_true(owner_map_same(&got->map[i], &want->map[i]));
		assert_int_equal(got->map[i].file, want->map[i].file);
	}
	for (size_t i = 0; i < got->nfds; i++)
		check_same_file(got->fd[i], want->fd[i]);
	for (size_t i = 0; i < got->nbars; i++) {
		assert_int_equal(got->bars[i].start, want->bars[i].start);
		assert_int_equal(got->bars[i].end, want->bars[i].end);
		assert_int_equal(got->bars[i].no_read, want->bars[i].no_read);
		assert_int_equal(got->bars[i].no_write, want->bars[i].no_write);
	}
}

static void check_facts(const struct call_facts *got,
			const struct call_facts *want)
{
	assert_int_equal(got->is_owner, want->is_owner);
	assert_int_equal(got->owner_error, want->owner_error);
	assert_int_equal(got->pid, want->pid);
	assert_int_equal(got->fd_error, want->fd_error);
	assert_int_equal(got->maps_error, want->maps_error);
	if (want->mem_fd >= 0)
		check_same_file(got->mem_fd, want->mem_fd);
	else
		assert_int_equal(got->mem_fd, -1);
	if (want->fd >= 0)
		check_same_file(got->fd, want->fd);
	else
		assert_int_equal(got->fd, want->fd);
	check_maps(&got->maps, &want->maps);
}

static void send_ioctl(struct fixture *f, const struct ioctl_call *call,
		       const struct call_facts *facts)
{
	struct wmsg_call c;
	struct wmsg_out out;

	check_ret(wmsg_put_ioctl(&c, call, facts, &out), 0);
	out.seq = 17;
	check_ret(wmsg_send(f->end[BROKER], &out, MSG_DONTWAIT), 0);
	wmsg_call_release(&c);
}

/* Sends the call, and checks that it arrives; in a memfd or not. */
static void pass_ioctl(struct fixture *f, const struct ioctl_call *call,
		       const struct call_facts *facts, bool memfd)
{
	struct ioctl_call got;
	struct call_facts got_facts;

	send_ioctl(f, call, facts);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), 0);
	assert_int_equal(f->in.hdr.type, WMSG_IOCTL);
	assert_int_equal(f->in.hdr.seq, 17);
	assert_int_equal(f->in.hdr.flags, memfd ? WMSG_IN_MEMFD : 0);
	check_ret(wmsg_get_ioctl(&f->in, &got, &got_facts), 0);
	assert_int_equal(got.cmd, call->cmd);
	assert_int_equal(got.arg, call->arg);
	assert_int_equal(got.in_len, call->in_len);
	assert_int_equal(got.out_room, call->out_room);
	if (call->in_len)
		assert_memory_equal(got.in, call->in, call->in_len);
	check_facts(&got_facts, facts);
	wmsg_facts_release(&got_facts);
	wmsg_in_release(&f->in);
}

static void an_ioctl_arrives_with_all_facts(void **state)
{
	struct fixture *f = *state;
	struct ioctl_call call = { .cmd = VHOST_SET_VRING_KICK,
				   .arg = 0x7fff12345678,
				   .in = "12345678",
				   .in_len = 8 };
	struct call_facts facts = CALL_FACTS_NONE;

	pass_ioctl(f, &call, &facts, false);
	facts.fd = VDEV_FD_BAD;
	facts.is_owner = true;
	pass_ioctl(f, &call, &facts, false);
	facts.fd = file_new();
	facts.fd_error = -EPERM;
	call.in_len = 5; /* the tables are at a multiple of 8 all the same */
	pass_ioctl(f, &call, &facts, false);
	facts.mem_fd = file_new();
	facts.owner_error = -ESRCH;
	facts.pid = 4700;
	facts.maps_error = -WMSG_ERRNO_MAX;
	call.in_len = 0;
	call.out_room = IOCTL_DATA_MAX;
	pass_ioctl(f, &call, &facts, false);
	close(facts.fd);
	facts.fd = VDEV_FD_NONE;
	pass_ioctl(f, &call, &facts, false);
	close(facts.mem_fd);
}

static void a_memory_table_arrives(void **state)
{
	struct fixture *f = *state;
	static char in[8 + 3 * 32];
	struct ioctl_call call = { .cmd = VHOST_SET_MEM_TABLE,
				   .in = in,
				   .in_len = sizeof(in) };
	struct call_facts facts = table_facts(5, 2, 7);

	pass_ioctl(f, &call, &facts, false);
	owner_maps_free(&facts.maps);
	facts = table_facts(3, 0, 0);
	pass_ioctl(f, &call, &facts, false);
	owner_maps_free(&facts.maps);
}

static void the_longest_ioctl_fits_the_socket(void **state)
{
	struct fixture *f = *state;
	struct ioctl_call call = { .cmd = VHOST_SET_FEATURES_ARRAY,
				   .in_len = IOCTL_DATA_MAX,
				   .out_room = IOCTL_DATA_MAX };
	struct call_facts facts = CALL_FACTS_NONE;
	char *bytes = malloc(IOCTL_DATA_MAX + 1);

	assert_non_null(bytes);
	for (size_t i = 0; i < IOCTL_DATA_MAX; i++)
		bytes[i] = (char)(i * 7 >> 3);
	call.in = bytes;
	pass_ioctl(f, &call, &facts, false);
	free(bytes);
}

static void the_largest_memory_table_arrives(void **state)
{
	struct fixture *f = *state;
	static char in[8 + 4095 * 32];
	struct ioctl_call call = { .cmd = VHOST_SET_MEM_TABLE,
				   .in = in,
				   .in_len = sizeof(in) };
	struct call_facts facts =
		table_facts(PEER_MAPS_MAX, OWNER_FILES_MAX, OWNER_BARS_MAX);

	facts.mem_fd = file_new();
	facts.fd = file_new();
	pass_ioctl(f, &call, &facts, true);
	close(facts.fd);
	close(facts.mem_fd);
	owner_maps_free(&facts.maps);
}

static void too_much_is_not_sent(void **state)
{
	struct call_facts facts = table_facts(PEER_MAPS_MAX + 1, 0, 0);
	struct ioctl_call call = { .cmd = VHOST_SET_MEM_TABLE };
	struct wmsg_out out;
	struct wmsg_call c;

	(void)state;
	check_ret(wmsg_put_ioctl(&c, &call, &facts, &out), -EMSGSIZE);
	facts.maps.nmaps--;
	call.in_len = IOCTL_DATA_MAX + 1;
	check_ret(wmsg_put_ioctl(&c, &call, &facts, &out), -EMSGSIZE);
	owner_maps_free(&facts.maps);
}

static void small_send_buffers_are_made_up_for(void **state)
{
	struct fixture *f = *state;
	const int small = 1;
	static char in[16384];
	struct ioctl_call call = { .cmd = VHOST_SET_FEATURES_ARRAY,
				   .in = in,
				   .in_len = sizeof(in) };
	struct call_facts facts = CALL_FACTS_NONE;
	struct wmsg_out reply = { .type = WMSG_READ | WMSG_REPLY,
				  .seq = 1,
				  .part = { { in, sizeof(in) } },
				  .nparts = 1 };

	for (int i = 0; i < 2; i++)
		check_ok(setsockopt(f->end[i], SOL_SOCKET, SO_SNDBUF, &small,
				    sizeof(small)));
	facts.fd = file_new();
	pass_ioctl(f, &call, &facts, true);
	close(facts.fd);
	check_ret(wmsg_send(f->end[PROCESS], &reply, 0), -EMSGSIZE);
	reply.part[0].iov_len = 1024;
	check_ret(wmsg_send(f->end[PROCESS], &reply, MSG_DONTWAIT), 0);
	check_ret(wmsg_recv(f->end[BROKER], &f->back, MSG_DONTWAIT), 0);
}

static void the_end_of_the_peer_is_told(void **state)
{
	struct fixture *f = *state;
	struct wmsg_out out = { .type = WMSG_READABLE, .seq = 1 };

	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), -EAGAIN);
	check_ret(wmsg_send(f->end[BROKER], &out, 0), 0);
	check_ok(shutdown(f->end[BROKER], SHUT_RDWR));
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, 0), 0);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, 0), -ECONNRESET);
	check_ret(wmsg_send(f->end[PROCESS], &out, 0), -ECONNRESET);
}

static void a_start_arrives(void **state)
{
	struct fixture *f = *state;
	struct wmsg_start got, start = { .build = "1.2",
					 .tag = "dev/7",
					 .features = 1,
					 .max_mem_regions = 64,
					 .log_level = -1 };
	int mem_fd, ring[FRAMERING_FDS], memory = file_new();
	struct wmsg_out out = { .type = WMSG_START,
				.seq = 1,
				.part = { { &start, sizeof(start) } },
				.nparts = 1,
				.nfds = 1,
				.inherited = true };

	f->in.inherits = check_ok(fcntl(memory, F_DUPFD, 100));
	check_ret(wmsg_send(f->end[BROKER], &out, 0), 0);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, 0), 0);
	check_ret(wmsg_get_start(&f->in, &got, &mem_fd, ring), 0);
	assert_memory_equal(&got, &start, sizeof(got));
	check_same_file(mem_fd, memory);
	assert_int_equal(ring[0], -1);
	wmsg_in_release(&f->in);
	check_same_file(mem_fd, memory); /* ours now */
	close(mem_fd);
	close(memory);
}

/* With the memory or without; other numbers of descriptors are refused. */
static void a_start_brings_a_frame_ring(void **state)
{
	struct fixture *f = *state;
	struct wmsg_start got, start = { .build = "1.2" };
	int fd[FRAMERING_FDS + 2], mem_fd, ring[FRAMERING_FDS];
	struct wmsg_out out = { .type = WMSG_START,
				.part = { { &start, sizeof(start) } },
				.nparts = 1,
				.fd = fd };

	for (unsigned int i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = file_new();
	for (unsigned int n = 0; n <= ARRAY_SIZE(fd); n++) {
		bool mem = n % FRAMERING_FDS == 1, has = n >= FRAMERING_FDS;
		bool good =
			n < 2 || n == FRAMERING_FDS || n == FRAMERING_FDS + 1;

		out.nfds = n;
		check_ret(wmsg_send(f->end[BROKER], &out, 0), 0);
		check_ret(wmsg_recv(f->end[PROCESS], &f->in, 0), 0);
		check_ret(wmsg_get_start(&f->in, &got, &mem_fd, ring),
			  good ? 0 : -EPROTO);
		wmsg_in_release(&f->in);
		if (!good)
			continue;
		assert_int_equal(mem_fd >= 0, mem);
		for (unsigned int i = 0; i < FRAMERING_FDS; i++) {
			assert_int_equal(ring[i] >= 0, has);
			if (has)
				check_same_file(ring[i], fd[mem + i]);
			fd_drop(&ring[i]);
		}
		fd_drop(&mem_fd);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
}

static int pass_inherited(struct fixture *f, int first, unsigned int n)
{
	const struct wmsg_out out = { .type = WMSG_SOCK_START,
				      .nfds = n,
				      .inherited = true };

	f->in.inherits = first;
	check_ret(wmsg_send(f->end[BROKER], &out, 0), 0);
	return wmsg_recv(f->end[PROCESS], &f->in, 0);
}

/* They are used once, and only by a process that was started with them. */
static void inherited_descriptors_belong_to_the_first_message(void **state)
{
	struct fixture *f = *state;
	int files[3];

	for (int i = 0; i < 3; i++) {
		files[i] = file_new();
		check_ret(dup2(files[i], 200 + i), 200 + i);
	}
	check_ret(pass_inherited(f, 200, 3), 0);
	assert_int_equal(f->in.nfds, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(f->in.fd[i], 200 + i);
		check_same_file(f->in.fd[i], files[i]);
		close(files[i]);
	}
	assert_int_equal(f->in.inherits, 0);
	wmsg_in_release(&f->in);
	check_errno(fcntl(202, F_GETFD), EBADF);
	check_ret(pass_inherited(f, 0, 0), -EPROTO);
	check_ret(pass_inherited(f, 0, 1), -EPROTO);
	/* the second one is not there */
	check_ok(dup2(f->end[BROKER], 200));
	check_ret(pass_inherited(f, 200, 2), -EPROTO);
	check_errno(fcntl(200, F_GETFD), EBADF);
}

/* A process that was taken over says so to its broker. */
static void the_broker_inherits_nothing(void **state)
{
	struct fixture *f = *state;
	const struct wmsg_out out = { .type = WMSG_EVENT_IOTLB,
				      .nfds = 1,
				      .inherited = true };

	check_ret(wmsg_send(f->end[PROCESS], &out, 0), 0);
	check_ret(wmsg_recv(f->end[BROKER], &f->back, 0), -EPROTO);
}

static struct wmsg_sock good_sock(void)
{
	return (struct wmsg_sock){ .build = "1.2",
				   .tag = "vu.sock",
				   .port = "tap:uv0",
				   .queue_pairs = 2,
				   .flags = WMSG_SOCK_USERFAULT,
				   .mtu = 1500 };
}

/* With @n descriptors; what wmsg_get_sock() says of it. */
static int pass_sock(struct fixture *f, unsigned int type,
		     const struct wmsg_sock *s, size_t len, unsigned int n,
		     struct wmsg_sock *got)
{
	int fds[8], ret;
	const struct wmsg_out out = { .type = type,
				      .part = { { (void *)(uintptr_t)s, len } },
				      .nparts = 1,
				      .fd = fds,
				      .nfds = n };

	for (unsigned int i = 0; i < n; i++)
		fds[i] = file_new();
	check_ret(wmsg_send(f->end[BROKER], &out, 0), 0);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, 0), 0);
	ret = wmsg_get_sock(&f->in, got);
	for (unsigned int i = 0; i < n; i++) {
		if (ret == 0)
			check_same_file(f->in.fd[i], fds[i]);
		close(fds[i]);
	}
	assert_int_equal(f->in.nfds, n);
	wmsg_in_release(&f->in);
	return ret;
}

static void a_connection_arrives_with_its_port(void **state)
{
	struct fixture *f = *state;
	struct wmsg_sock s = good_sock(), got;

	for (unsigned int n = 2; n <= 4; n++) {
		check_ret(pass_sock(f, WMSG_SOCK_START, &s, sizeof(s), n, &got),
			  0);
		assert_memory_equal(&got, &s, sizeof(got));
	}
	check_ret(pass_sock(f, WMSG_SOCK_HELLO | WMSG_REPLY, &s, sizeof(s), 0,
			    &got),
		  0);
	assert_memory_equal(&got, &s, sizeof(got));
}

static void a_connection_arrives_with_frame_rings(void **state)
{
	const unsigned int start = WMSG_SOCK_START;
	struct fixture *f = *state;
	struct wmsg_sock s = good_sock(), got;

	s.flags = WMSG_SOCK_RINGS;
	s.queue_pairs = 1;
	for (unsigned int n = 0; n <= 7; n++)
		check_ret(pass_sock(f, start, &s, sizeof(s), n, &got),
			  n == 1 + FRAMERING_FDS ? 0 : -EPROTO);
	s.flags |= WMSG_SOCK_USERFAULT;
	check_ret(pass_sock(f, start, &s, sizeof(s), 6, &got), -EPROTO);
	check_ret(pass_sock(f, start, &s, sizeof(s), 7, &got), 0);
	s.queue_pairs = WMSG_SOCK_RINGS_MAX + 1;
	check_ret(pass_sock(f, WMSG_SOCK_HELLO | WMSG_REPLY, &s, sizeof(s), 0,
			    &got),
		  0);
	check_ret(pass_sock(f, start, &s, sizeof(s), 7, &got), -EPROTO);
}

static void a_malformed_connection_is_refused(void **state)
{
	const unsigned int start = WMSG_SOCK_START;
	struct fixture *f = *state;
	struct wmsg_sock s = good_sock(), got;

	/* descriptors: the connection, the device, one each for two pairs */
	check_ret(pass_sock(f, start, &s, sizeof(s), 0, &got), -EPROTO);
	check_ret(pass_sock(f, start, &s, sizeof(s), 1, &got), -EPROTO);
	check_ret(pass_sock(f, start, &s, sizeof(s), 5, &got), -EPROTO);
	check_ret(pass_sock(f, start, &s, sizeof(s) - 1, 2, &got), -EPROTO);
	check_ret(pass_sock(f, start, &s, 0, 2, &got), -EPROTO);
	check_ret(pass_sock(f, WMSG_SOCK_HELLO | WMSG_REPLY, &s, sizeof(s), 1,
			    &got),
		  -EPROTO);
	s.flags = 0;
	check_ret(pass_sock(f, start, &s, sizeof(s), 4, &got), -EPROTO);
	s.flags = WMSG_SOCK_RINGS << 1;
	check_ret(pass_sock(f, start, &s, sizeof(s), 2, &got), -EPROTO);
	s = good_sock();
	s.queue_pairs = 0;
	check_ret(pass_sock(f, start, &s, sizeof(s), 2, &got), -EPROTO);
	s.queue_pairs = WMSG_SOCK_PAIRS_MAX + 1;
	check_ret(pass_sock(f, start, &s, sizeof(s), 2, &got), -EPROTO);
	s = good_sock();
	memset(s.port, 'x', sizeof(s.port));
	check_ret(pass_sock(f, start, &s, sizeof(s), 2, &got), -EPROTO);
	s = good_sock();
	memset(s.tag, 'x', sizeof(s.tag));
	check_ret(pass_sock(f, start, &s, sizeof(s), 2, &got), -EPROTO);
	s = good_sock();
	memset(s.build, 'x', sizeof(s.build));
	check_ret(pass_sock(f, start, &s, sizeof(s), 2, &got), -EPROTO);
}

/* ---- what is malformed is refused ---- */

/* A packet with @nfds descriptors. */
static void send_raw(int sock, const void *bytes, size_t len, unsigned int nfds)
{
	int fds[FDMSG_MAX];

	for (unsigned int i = 0; i < nfds; i++)
		fds[i] = file_new();
	check_ret(fdmsg_send(sock, bytes, len, fds, nfds, 0), len);
	for (unsigned int i = 0; i < nfds; i++)
		close(fds[i]);
}

struct packet {
	struct wmsg_hdr hdr;
	uint8_t body[64];
};

static struct packet good_packet(void)
{
	return (struct packet){ .hdr = { .magic = WMSG_MAGIC,
					 .type = WMSG_WRITE,
					 .seq = 1,
					 .len = 64 } };
}

/* Sends @len bytes of @p with @nfds descriptors, and checks what is said. */
static void check_refused(struct fixture *f, const struct packet *p, size_t len,
			  unsigned int nfds)
{
	send_raw(f->end[BROKER], p, len, nfds);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), -EPROTO);
	assert_int_equal(f->in.nfds, 0);
	assert_int_equal(count_fds(), f->fds);
}

static void a_malformed_header_is_refused(void **state)
{
	struct fixture *f = *state;
	struct packet p = good_packet();

	/* that one is good */
	send_raw(f->end[BROKER], &p, sizeof(p), 0);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), 0);
	assert_int_equal((uintptr_t)f->in.body % 8, 0);

	p.hdr.magic ^= 1;
	check_refused(f, &p, sizeof(p), 0);
	p.hdr.nfds = 1;
	check_refused(f, &p, sizeof(p), 1);
	p = good_packet();
	p.hdr.type = 0;
	check_refused(f, &p, sizeof(p), 0);
	p.hdr.type = WMSG_TYPES;
	check_refused(f, &p, sizeof(p), 0);
	p.hdr.type = WMSG_WRITE | 0x200;
	check_refused(f, &p, sizeof(p), 0);
	p = good_packet();
	p.hdr.flags = 2;
	check_refused(f, &p, sizeof(p), 0);
	p = good_packet();
	p.hdr.len = 65;
	check_refused(f, &p, sizeof(p), 0);
	p.hdr.len = 63;
	check_refused(f, &p, sizeof(p), 0);
	p.hdr.len = UINT32_MAX;
	check_refused(f, &p, sizeof(p), 0);
	p = good_packet();
	for (size_t len = 1; len < sizeof(p.hdr); len++)
		check_refused(f, &p, len, 1);
}

static void the_number_of_descriptors_counts(void **state)
{
	struct fixture *f = *state;
	struct packet p = good_packet();

	check_refused(f, &p, sizeof(p), 1);
	check_refused(f, &p, sizeof(p), WMSG_FDS_MAX);
	p.hdr.nfds = 2;
	check_refused(f, &p, sizeof(p), 0);
	check_refused(f, &p, sizeof(p), 1);
	check_refused(f, &p, sizeof(p), 3);
	p.hdr.nfds = WMSG_FDS_MAX + 1;
	check_refused(f, &p, sizeof(p), WMSG_FDS_MAX);
	p.hdr.nfds = WMSG_FDS_MAX;
	send_raw(f->end[BROKER], &p, sizeof(p), WMSG_FDS_MAX);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), 0);
	assert_int_equal(f->in.nfds, WMSG_FDS_MAX);
	wmsg_in_release(&f->in);
}

static void a_message_without_bytes_is_the_end(void **state)
{
	struct fixture *f = *state;
	int fd = file_new();

	check_ret(fdmsg_send(f->end[BROKER], "", 0, &fd, 1, 0), 0);
	close(fd);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT),
		  -ECONNRESET);
}

static void a_process_out_of_descriptors_is_told_so(void **state)
{
	struct fixture *f = *state;
	struct packet p = good_packet();
	struct rlimit old, few;

	p.hdr.nfds = 8;
	send_raw(f->end[BROKER], &p, sizeof(p), 8);
	check_ok(getrlimit(RLIMIT_NOFILE, &old));
	few = old;
	few.rlim_cur = (rlim_t)file_new() + 3;
	close((int)few.rlim_cur - 3);
	check_ok(setrlimit(RLIMIT_NOFILE, &few));
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), -ENOMEM);
	check_ok(setrlimit(RLIMIT_NOFILE, &old));
	assert_int_equal(f->in.hdr.type, WMSG_WRITE);
	assert_int_equal(f->in.hdr.seq, 1);
}

static void the_broker_takes_no_descriptors(void **state)
{
	struct fixture *f = *state;
	struct packet p = good_packet();

	p.hdr.nfds = 1;
	send_raw(f->end[PROCESS], &p, sizeof(p), 1);
	check_ret(wmsg_recv(f->end[BROKER], &f->back, MSG_DONTWAIT), -EPROTO);
	p.hdr.nfds = 0;
	send_raw(f->end[PROCESS], &p, sizeof(p), 1);
	check_ret(wmsg_recv(f->end[BROKER], &f->back, MSG_DONTWAIT), -EPROTO);
	p.hdr.flags = WMSG_IN_MEMFD;
	p.hdr.len = 0;
	send_raw(f->end[PROCESS], &p, sizeof(p.hdr), 0);
	check_ret(wmsg_recv(f->end[BROKER], &f->back, MSG_DONTWAIT), -EPROTO);
}

static void a_message_too_long_is_told(void **state)
{
	struct fixture *f = *state;
	struct packet p = good_packet();
	struct wmsg_in in;

	check_ret(wmsg_in_init(&in, 32, true), 0);
	p.hdr.nfds = 1;
	send_raw(f->end[BROKER], &p, sizeof(p), 1);
	check_ret(wmsg_recv(f->end[PROCESS], &in, MSG_DONTWAIT), -EMSGSIZE);
	assert_int_equal(in.hdr.type, WMSG_WRITE);
	assert_int_equal(in.nfds, 0);
	wmsg_in_free(&in);
}

/* ---- a body in a file ---- */

/* Sends a message whose body is in @fd, with its length said to be @len. */
static void send_in(struct fixture *f, int fd, uint32_t len)
{
	struct wmsg_hdr hdr = { .magic = WMSG_MAGIC,
				.type = WMSG_WRITE,
				.flags = WMSG_IN_MEMFD,
				.seq = 1,
				.len = len,
				.nfds = 1 };

	check_ret(fdmsg_send(f->end[BROKER], &hdr, sizeof(hdr), &fd, 1, 0),
		  sizeof(hdr));
}

static int memfd_with(const char *text, int seals)
{
	int fd =
		check_ok(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));

	check_ret(write(fd, text, strlen(text)), strlen(text));
	check_ok(fcntl(fd, F_ADD_SEALS, seals));
	return fd;
}

static void check_memfd(struct fixture *f, int fd, uint32_t len, int ret)
{
	send_in(f, fd, len);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), ret);
	if (ret == 0)
		assert_memory_equal(f->in.body, "body", 4);
	close(fd);
	wmsg_in_release(&f->in);
	assert_int_equal(count_fds(), f->fds);
}

static void a_file_that_can_change_is_not_read(void **state)
{
	struct fixture *f = *state;
	int both = F_SEAL_SHRINK | F_SEAL_WRITE, pipes[2];

	check_memfd(f, memfd_with("body", both), 4, 0);
	check_memfd(f, memfd_with("body", F_SEAL_SHRINK), 4, -EPROTO);
	check_memfd(f, memfd_with("body", F_SEAL_WRITE), 4, -EPROTO);
	check_memfd(f, memfd_with("body", 0), 4, -EPROTO);
	check_memfd(f, memfd_with("body", both), 5, -EPROTO);
	check_memfd(f, memfd_with("body", both), 3, -EPROTO);
	check_memfd(f, memfd_with("body", both), WMSG_BODY_MAX + 1, -EPROTO);
	check_memfd(f,
		    check_ok(open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC)),
		    0, -EPROTO);
	/* a pipe would be waited for */
	check_ok(pipe2(pipes, O_CLOEXEC));
	send_in(f, pipes[0], 4);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), -EPROTO);
	close(pipes[0]);
	close(pipes[1]);
}

static void a_body_is_in_one_place(void **state)
{
	struct fixture *f = *state;
	struct packet p = good_packet();

	p.hdr.flags = WMSG_IN_MEMFD;
	check_refused(f, &p, sizeof(p.hdr), 0); /* no descriptor */
	p.hdr.nfds = 1;
	check_refused(f, &p, sizeof(p), 1); /* here too */
}

/* ---- malformed ioctls ---- */

/* Sends an ioctl with @len bytes behind its head and @nfds files. */
static void check_ioctl(struct fixture *f, const struct wmsg_ioctl *head,
			size_t len, unsigned int nfds, int ret)
{
	static uint8_t packet[512];
	struct wmsg_hdr hdr = { .magic = WMSG_MAGIC,
				.type = WMSG_IOCTL,
				.seq = 1,
				.len = (uint32_t)(sizeof(*head) + len),
				.nfds = nfds };
	struct call_facts facts;
	struct ioctl_call call;

	memcpy(packet, &hdr, sizeof(hdr));
	memcpy(packet + sizeof(hdr), head, sizeof(*head));
	memset(packet + sizeof(hdr) + sizeof(*head), 0, len);
	send_raw(f->end[BROKER], packet, sizeof(hdr) + hdr.len, nfds);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), 0);
	check_ret(wmsg_get_ioctl(&f->in, &call, &facts), ret);
	if (ret == 0)
		wmsg_facts_release(&facts);
	wmsg_in_release(&f->in);
	assert_int_equal(count_fds(), f->fds);
}

#define GOOD { .cmd = VHOST_SET_VRING_KICK, .in_len = 8 }

static void a_malformed_ioctl_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct wmsg_ioctl good = GOOD;
	struct wmsg_ioctl h;

	check_ioctl(f, &good, 8, 0, 0);
	check_ioctl(f, &good, 16, 0, -EPROTO);
	check_ioctl(f, &good, 0, 0, -EPROTO);
	check_ioctl(f, &good, 8, 1, -EPROTO);
#define WITH(field, value) (h = good, h.field = (value), &h)
	check_ioctl(f, WITH(in_len, 7), 8, 0, 0);
	check_ioctl(f, WITH(in_len, 7), 7, 0, -EPROTO);
	check_ioctl(f, WITH(in_len, IOCTL_DATA_MAX + 1), 8, 0, -EPROTO);
	check_ioctl(f, WITH(in_len, UINT32_MAX), 8, 0, -EPROTO);
	check_ioctl(f, WITH(out_room, IOCTL_DATA_MAX + 1), 8, 0, -EPROTO);
	check_ioctl(f, WITH(flags, 0x20), 8, 0, -EPROTO);
	check_ioctl(f, WITH(flags, WMSG_REPEATED), 8, 0, 0);
	check_ioctl(f, WITH(flags, WMSG_FD | WMSG_FD_BAD), 8, 1, -EPROTO);
	check_ioctl(f, WITH(flags, WMSG_FD), 8, 0, -EPROTO);
	check_ioctl(f, WITH(flags, WMSG_FD), 8, 1, 0);
	check_ioctl(f, WITH(flags, WMSG_MEM_FD), 8, 2, -EPROTO);
	check_ioctl(f, WITH(flags, WMSG_MEM_FD), 8, 1, 0);
	check_ioctl(f, WITH(owner_error, 1), 8, 0, -EPROTO);
	check_ioctl(f, WITH(fd_error, -512), 8, 0, -EPROTO);
	check_ioctl(f, WITH(maps_error, INT32_MIN), 8, 0, -EPROTO);
	check_ioctl(f, WITH(unused, 1), 8, 0, -EPROTO);
	check_ioctl(f, WITH(pid, -1), 8, 0, -EPROTO);
	check_ioctl(f, WITH(nmaps, 1), 8, 0, -EPROTO);
	check_ioctl(f, WITH(nmaps, PEER_MAPS_MAX + 1), 8, 0, -EPROTO);
	check_ioctl(f, WITH(nbars, OWNER_BARS_MAX + 1), 8, 0, -EPROTO);
	check_ioctl(f, WITH(nbars, 2), 8 + 24, 0, -EPROTO);
	check_ioctl(f, WITH(nbars, 2), 8 + 48, 0, 0);
	check_ioctl(f, WITH(map_fds, OWNER_FILES_MAX + 1), 8,
		    OWNER_FILES_MAX + 1, -EPROTO);
	/* a map of file 0, which is not there, and is */
	check_ioctl(f, WITH(nmaps, 1), 8 + 48, 0, -EPROTO);
	h = good;
	h.nmaps = h.map_fds = 1;
	check_ioctl(f, &h, 8 + 48, 1, 0);
#undef WITH
}

static void the_owners_memory_is_a_file(void **state)
{
	struct fixture *f = *state;
	struct call_facts facts = CALL_FACTS_NONE;
	struct ioctl_call call = { .cmd = VHOST_SET_OWNER };
	int pipes[2];

	check_ok(pipe2(pipes, O_CLOEXEC));
	facts.mem_fd = pipes[0];
	send_ioctl(f, &call, &facts);
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, MSG_DONTWAIT), 0);
	check_ret(wmsg_get_ioctl(&f->in, &call, &facts), -EPROTO);
	wmsg_in_release(&f->in);
	close(pipes[0]);
	close(pipes[1]);
}

static void a_write_brings_a_file_or_nothing(void **state)
{
	struct packet p = good_packet();
	struct fixture *f = *state;
	int mem_fd = 0, pipes[2];

	for (unsigned int n = 0; n < 3; n++) {
		p.hdr.nfds = n;
		send_raw(f->end[BROKER], &p, sizeof(p), n);
		check_ret(wmsg_recv(f->end[PROCESS], &f->in, 0), 0);
		check_ret(wmsg_get_write(&f->in, &mem_fd), n < 2 ? 0 : -EPROTO);
		assert_int_equal(mem_fd >= 0, n > 0);
	}
	check_ok(pipe2(pipes, O_CLOEXEC));
	p.hdr.nfds = 1;
	check_ret(fdmsg_send(f->end[BROKER], &p, sizeof(p), pipes, 1, 0),
		  sizeof(p));
	check_ret(wmsg_recv(f->end[PROCESS], &f->in, 0), 0);
	check_ret(wmsg_get_write(&f->in, &mem_fd), -EPROTO);
	wmsg_in_release(&f->in);
	close(pipes[0]);
	close(pipes[1]);
}

static void malformed_bars_are_refused(void **state)
{
	struct fixture *f = *state;
	struct {
		struct wmsg_hdr hdr;
		struct wmsg_ioctl head;
		struct wmsg_bar bar;
	} p = { .hdr = { .magic = WMSG_MAGIC,
			 .type = WMSG_IOCTL,
			 .seq = 1,
			 .len = sizeof(p.head) + sizeof(p.bar) },
		.head = { .cmd = VHOST_SET_MEM_TABLE, .nbars = 1 },
		.bar = { .end = 1, .flags = 4 } };
	struct call_facts facts;
	struct ioctl_call call;

	for (int i = 0; i < 2; i++) {
		send_raw(f->end[BROKER], &p, sizeof(p), 0);
		check_ret(wmsg_recv(f->end[PROCESS], &f->in, 0), 0);
		check_ret(wmsg_get_ioctl(&f->in, &call, &facts), -EPROTO);
		p.bar.flags = 0;
		p.bar.unused = 1;
	}
}

/* ---- malformed replies ---- */

static int get_verdict(struct fixture *f, const struct wmsg_reply *reply,
		       size_t len, const struct ioctl_call *call,
		       struct ioctl_verdict *v)
{
	static uint8_t bytes[256] = { 1, 2, 3 };
	struct wmsg_out out = { .type = WMSG_IOCTL | WMSG_REPLY,
				.seq = 1,
				.part = { { (void *)(uintptr_t)reply,
					    sizeof(*reply) },
					  { bytes, len } },
				.nparts = 2 };

	check_ret(wmsg_send(f->end[PROCESS], &out, MSG_DONTWAIT), 0);
	check_ret(wmsg_recv(f->end[BROKER], &f->back, MSG_DONTWAIT), 0);
	return wmsg_get_verdict(&f->back, call, v);
}

static void check_verdict(struct fixture *f, struct wmsg_reply reply,
			  size_t len, const struct ioctl_call *call, int ret)
{
	struct ioctl_verdict v;

	check_ret(get_verdict(f, &reply, len, call, &v), ret);
}

static void a_verdict_arrives(void **state)
{
	struct fixture *f = *state;
	uint8_t out[8] = "unused..";
	struct ioctl_call call = { .cmd = VHOST_GET_VRING_BASE,
				   .arg = 0x1000,
				   .in = "\0\0\0\0",
				   .in_len = 4,
				   .out = out,
				   .out_room = 8 };
	struct ioctl_verdict v;

	check_ret(get_verdict(f, &(struct wmsg_reply){ 0 }, 3, &call, &v), 0);
	assert_false(v.again);
	assert_int_equal(v.error, 0);
	assert_int_equal(v.out_len, 3);
	assert_memory_equal(out, "\1\2\3sed..", 8);
	check_ret(get_verdict(f, &(struct wmsg_reply){ .n = -ENOBUFS }, 0,
			      &call, &v),
		  0);
	assert_int_equal(v.error, -ENOBUFS);
	assert_int_equal(v.out_len, 0);
	call.in_len = call.out_room = 0;
	check_ret(get_verdict(f,
			      &(struct wmsg_reply){ .again = 1,
						    .fetch = 4,
						    .store_at = 0x1000,
						    .store = 8 },
			      0, &call, &v),
		  0);
	assert_true(v.again);
	assert_int_equal(v.fetch, 4);
	assert_int_equal(v.store_at, 0x1000);
	assert_int_equal(v.store, 8);
}

#define AGAIN(at, in, out)    \
	((struct wmsg_reply){ \
		.again = 1, .fetch = (in), .store_at = (at), .store = (out) })

/* A process that was taken over must not read and write its caller's memory
 * through the broker. */
static void a_verdict_reaches_no_other_memory(void **state)
{
	struct fixture *f = *state;
	uint64_t count = 3;
	struct vhost_memory table = { .nregions = 2 };
	struct ioctl_call call = { .cmd = VHOST_GET_VRING_BASE, .arg = 0x1000 };

	check_verdict(f, AGAIN(0x1000, 4, 8), 0, &call, 0);
	check_verdict(f, AGAIN(0x1008, 4, 8), 0, &call, -EPROTO);
	check_verdict(f, AGAIN(0xff8, 4, 8), 0, &call, -EPROTO);
	check_verdict(f, AGAIN(0x1000, 5, 8), 0, &call, -EPROTO);
	check_verdict(f, AGAIN(0x1000, 4, 9), 0, &call, -EPROTO);
	check_verdict(f, AGAIN(0x1000, UINT64_MAX, 8), 0, &call, -EPROTO);
	call = (struct ioctl_call){ .cmd = VHOST_GET_FEATURES_ARRAY,
				    .arg = 0x1000 };
	check_verdict(f, AGAIN(0x1000, 8, 0), 0, &call, 0);
	check_verdict(f, AGAIN(0x1000, 8, 8), 0, &call, -EPROTO);
	call.in = &count;
	call.in_len = 8;
	check_verdict(f, AGAIN(0x1008, 8, 24), 0, &call, 0);
	check_verdict(f, AGAIN(0x1000, 8, 24), 0, &call, -EPROTO);
	check_verdict(f, AGAIN(0x1008, 8, 32), 0, &call, -EPROTO);
	count = UINT64_MAX / 8 + 2;
	check_verdict(f, AGAIN(0x1008, 8, 24), 0, &call, -EPROTO);
	call = (struct ioctl_call){ .cmd = VHOST_SET_MEM_TABLE,
				    .arg = 0x1000,
				    .in = &table,
				    .in_len = 8 };
	check_verdict(f, AGAIN(0, 8 + 64, 0), 0, &call, 0);
	check_verdict(f, AGAIN(0, 8 + 65, 0), 0, &call, -EPROTO);
	check_verdict(f, AGAIN(0x1000, 8 + 64, 8), 0, &call, -EPROTO);
}

static void a_malformed_verdict_is_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t out[8];
	struct ioctl_call call = { .cmd = VHOST_GET_FEATURES,
				   .out = out,
				   .out_room = 8 };
	struct wmsg_reply r = { 0 };

	check_verdict(f, r, 8, &call, 0);
	check_verdict(f, r, 9, &call, -EPROTO);
	r.n = -EPERM;
	check_verdict(f, r, 1, &call, -EPROTO);
	r.n = 1;
	check_verdict(f, r, 0, &call, -EPROTO);
	r.n = -512;
	check_verdict(f, r, 0, &call, -EPROTO);
	r = (struct wmsg_reply){ .again = 2 };
	check_verdict(f, r, 0, &call, -EPROTO);
	r = (struct wmsg_reply){ .store = 8 };
	check_verdict(f, r, 0, &call, -EPROTO);
	/* asking for what is there would never end */
	check_verdict(f, AGAIN(0, 0, 8), 0, &call, -EPROTO);
	call.out_room = 4;
	check_verdict(f, AGAIN(0, 0, 8), 0, &call, 0);
	check_verdict(f, AGAIN(0, 0, 8), 1, &call, -EPROTO);
}

static void numbers_have_ranges(void **state)
{
	struct fixture *f = *state;
	struct wmsg_reply reply = { .n = 5 };
	struct wmsg_out out = { .type = WMSG_READ | WMSG_REPLY,
				.part = { { &reply, sizeof(reply) },
					  { "bytes", 5 } },
				.nparts = 2 };
	const void *bytes;
	size_t len;
	int64_t n;

	check_ret(wmsg_send(f->end[PROCESS], &out, 0), 0);
	check_ret(wmsg_recv(f->end[BROKER], &f->back, 0), 0);
	check_ret(wmsg_get_reply(&f->back, 0, 5, &n, &bytes, &len), 0);
	assert_int_equal(n, 5);
	assert_int_equal(len, 5);
	assert_memory_equal(bytes, "bytes", 5);
	check_ret(wmsg_get_reply(&f->back, 0, 4, &n, &bytes, &len), -EPROTO);
	check_ret(wmsg_get_reply(&f->back, 6, 9, &n, &bytes, &len), -EPROTO);
	check_ret(wmsg_number(&f->back, 0, 9, &n), -EPROTO);
	out.nparts = 1;
	out.part[0].iov_len = sizeof(struct wmsg_number);
	check_ret(wmsg_send(f->end[PROCESS], &out, 0), 0);
	check_ret(wmsg_recv(f->end[BROKER], &f->back, 0), 0);
	check_ret(wmsg_get_reply(&f->back, 0, 9, &n, &bytes, &len), -EPROTO);
	check_ret(wmsg_number(&f->back, 5, 5, &n), 0);
	check_ret(wmsg_number(&f->back, 6, 9, &n), -EPROTO);
	check_ret(wmsg_number(&f->back, 0, 4, &n), -EPROTO);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_ioctl_arrives_with_all_facts),
		TEST(a_memory_table_arrives),
		TEST(the_longest_ioctl_fits_the_socket),
		TEST(the_largest_memory_table_arrives),
		TEST(too_much_is_not_sent),
		TEST(small_send_buffers_are_made_up_for),
		TEST(the_end_of_the_peer_is_told),
		TEST(a_start_arrives),
		TEST(a_start_brings_a_frame_ring),
		TEST(inherited_descriptors_belong_to_the_first_message),
		TEST(the_broker_inherits_nothing),
		TEST(a_connection_arrives_with_its_port),
		TEST(a_connection_arrives_with_frame_rings),
		TEST(a_malformed_connection_is_refused),
		TEST(a_malformed_header_is_refused),
		TEST(the_number_of_descriptors_counts),
		TEST(a_message_without_bytes_is_the_end),
		TEST(a_process_out_of_descriptors_is_told_so),
		TEST(the_broker_takes_no_descriptors),
		TEST(a_message_too_long_is_told),
		TEST(a_file_that_can_change_is_not_read),
		TEST(a_body_is_in_one_place),
		TEST(a_malformed_ioctl_is_refused),
		TEST(the_owners_memory_is_a_file),
		TEST(a_write_brings_a_file_or_nothing),
		TEST(malformed_bars_are_refused),
		TEST(a_verdict_arrives),
		TEST(a_verdict_reaches_no_other_memory),
		TEST(a_malformed_verdict_is_refused),
		TEST(numbers_have_ranges),
	};

	fd_raise_limit();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
