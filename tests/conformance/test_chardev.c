/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_chardev.c tests the device as a file: read, write and poll carry IOTLB
 * messages; all other file operations are refused as the kernel's device
 * refuses them.
 */
#include "conf.h"
#include "fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#define MSG_BYTES 72
#define KERNEL_UVA UINT64_C(0xffff888000000000)
#define PLATFORM VMM_BIT(VIRTIO_F_ACCESS_PLATFORM)

/* ---- write(2) ---- */

struct write_row {
	const char *name;
	bool iotlb; /* ACCESS_PLATFORM on */
	unsigned int outer;
	unsigned int inner;
	size_t len;
	uint64_t iova, size, uva;
	unsigned int perm;
	unsigned int asid;
	int want;
};

// clang-format off
#define OFF false
#define ON true
#define UVA 0x10000 /* never looked at, only its range */
static const struct write_row writes[] = {
/* name                       iotlb outer inner len   iova   size    uva  perm asid  want */
{ "write 0 bytes",              ON,  2,    2,    0,    0,     4096,   UVA,  3,  0,  -EINVAL },
{ "write 3 bytes",              ON,  2,    2,    3,    0,     4096,   UVA,  3,  0,  -EINVAL },
{ "write 8 bytes",              ON,  2,    2,    8,    0,     4096,   UVA,  3,  0,  -EINVAL },
{ "write 39 bytes",             ON,  2,    2,    39,   0,     4096,   UVA,  3,  0,  -EINVAL },
{ "write 40 bytes",             ON,  2,    2,    40,   0,     4096,   UVA,  3,  0,  MSG_BYTES },
{ "write 71 bytes",             ON,  2,    2,    71,   0,     4096,   UVA,  3,  0,  MSG_BYTES },
{ "write 72 bytes",             ON,  2,    2,    72,   0,     4096,   UVA,  3,  0,  MSG_BYTES },
{ "write 200 bytes",            ON,  2,    2,    200,  0,     4096,   UVA,  3,  0,  MSG_BYTES },
{ "write V1",                   ON,  1,    2,    72,   0,     4096,   UVA,  3,  0,  MSG_BYTES },
{ "write V1 40 bytes",          ON,  1,    2,    40,   0,     4096,   UVA,  3,  0,  MSG_BYTES },
{ "write outer type 0",         ON,  0,    2,    72,   0,     4096,   UVA,  3,  0,  -EINVAL },
{ "write outer type 3",         ON,  3,    2,    72,   0,     4096,   UVA,  3,  0,  -EINVAL },
{ "write outer type max",       ON,  ~0U,  2,    72,   0,     4096,   UVA,  3,  0,  -EINVAL },
{ "write UPDATE size 0",        ON,  2,    2,    72,   0,     0,      UVA,  3,  0,  -EINVAL },
{ "write UPDATE size 0, off",   OFF, 2,    2,    72,   0,     0,      UVA,  3,  0,  -EINVAL },
{ "write UPDATE, off",          OFF, 2,    2,    72,   0,     4096,   UVA,  3,  0,  -EFAULT },
{ "write INVALIDATE, off",      OFF, 2,    3,    72,   0,     4096,   0,    0,  0,  -EFAULT },
{ "write inner 0",              ON,  2,    0,    72,   0,     4096,   UVA,  3,  0,  -EFAULT },
{ "write MISS",                 ON,  2,    1,    72,   0,     4096,   UVA,  3,  0,  -EFAULT },
{ "write ACCESS_FAIL",          ON,  2,    4,    72,   0,     4096,   UVA,  3,  0,  -EFAULT },
{ "write BATCH_BEGIN",          ON,  2,    5,    72,   0,     4096,   UVA,  3,  0,  -EFAULT },
{ "write BATCH_END",            ON,  2,    6,    72,   0,     4096,   UVA,  3,  0,  -EFAULT },
{ "write inner 255",            ON,  2,    255,  72,   0,     4096,   UVA,  3,  0,  -EFAULT },
{ "write INVALIDATE",           ON,  2,    3,    72,   0,     4096,   0,    0,  0,  MSG_BYTES },
{ "write INVALIDATE size 0",    ON,  2,    3,    72,   0,     0,      0,    0,  0,  MSG_BYTES },
{ "write INVALIDATE wrap",      ON,  2,    3,    72,  ~0ULL,  4096,   0,    0,  0,  MSG_BYTES },
{ "write INVALIDATE all",       ON,  2,    3,    72,   0,    ~0ULL,   0,    0,  0,  MSG_BYTES },
{ "write UPDATE kernel",        ON,  2,    2,    72,   0,     4096, KERNEL_UVA, 3, 0, -EFAULT },
{ "write UPDATE kernel RO",     ON,  2,    2,    72,   0,     4096, KERNEL_UVA, 1, 0, -EFAULT },
{ "write UPDATE kernel WO",     ON,  2,    2,    72,   0,     4096, KERNEL_UVA, 2, 0, -EFAULT },
{ "write UPDATE kernel perm 0", ON,  2,    2,    72,   0,     4096, KERNEL_UVA, 0, 0, MSG_BYTES },
{ "write UPDATE perm 4",        ON,  2,    2,    72,   0,     4096,   UVA,  4,  0,  MSG_BYTES },
{ "write UPDATE perm 255",      ON,  2,    2,    72,   0,     4096,   UVA,  255, 0, MSG_BYTES },
{ "write UPDATE uva wrap",      ON,  2,    2,    72,   0,     4096,  ~0ULL, 3,  0,  -EFAULT },
{ "write UPDATE iova wrap",     ON,  2,    2,    72,  ~0ULL,  4096,   UVA,  3,  0,  -EFAULT },
{ "write UPDATE iova top",      ON,  2,    2,    72,  -4096ULL, 4096, UVA,  3,  0,  MSG_BYTES },
{ "write UPDATE 1 byte",        ON,  2,    2,    72,   3,     1,      UVA + 7, 3, 0, MSG_BYTES },
{ "write UPDATE asid 1",        ON,  2,    2,    72,   0,     4096,   UVA,  3,  1,  MSG_BYTES },
};
// clang-format on

static void write_message(void **state)
{
	const struct write_row *r = *state;
	uint8_t buf[256] = { 0 };
	struct vhost_msg_v2 msg = {
		.type = r->outer,
		.asid = r->asid,
		.iotlb = {
			.iova = r->iova,
			.size = r->size,
			.uaddr = r->uva,
			.perm = (uint8_t)r->perm,
			.type = (uint8_t)r->inner,
		},
	};
	struct fixture f;
	ssize_t n;

	/* as process without rings: the table of writes needs an owner only */
	check_ok(
		fixture_open(&f, conf_dev(), -1, r->iotlb ? S_IOTLB : S_OWNED));
	memcpy(buf, &msg, sizeof(msg));
	n = write(f.fd, buf, r->len);
	check_ret(n < 0 ? -errno : n, conf_expect(r->name, r->want));
	fixture_close(&f);
}

/* ---- read(2) and poll(2) ---- */

static int read_ret(int fd, void *buf, size_t len)
{
	ssize_t n = read(fd, buf, len);

	return n < 0 ? -errno : (int)n;
}

static struct fixture opened(enum setup setup)
{
	struct fixture f;

	check_ok(fixture_open(&f, conf_dev(), -1, setup));
	return f;
}

static void set_nonblock(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK), 0);
}

static void short_reads_return_0(void **state)
{
	struct fixture f = opened(S_FRESH);
	uint8_t buf[MSG_BYTES];

	(void)state;
	check_ret(read_ret(f.fd, buf, 0), 0);
	check_ret(read_ret(f.fd, buf, 10), 0);
	check_ret(read_ret(f.fd, buf, 71), 0);
	fixture_close(&f);
}

static void blocking_read_without_iotlb_is_ebadfd(void **state)
{
	struct fixture f = opened(S_FRESH);
	uint8_t buf[MSG_BYTES];

	(void)state;
	check_ret(read_ret(f.fd, buf, sizeof(buf)), -EBADFD);
	check_ret(read_ret(f.fd, buf, sizeof(buf)), -EBADFD);
	fixture_close(&f);
}

static void nonblocking_read_without_message_is_eagain(void **state)
{
	struct fixture f = opened(S_FRESH);
	uint8_t buf[MSG_BYTES];

	(void)state;
	set_nonblock(f.fd);
	check_ret(read_ret(f.fd, buf, sizeof(buf)), -EAGAIN);
	check_ret(vmm_set_owner(f.fd), 0);
	check_ret(vmm_set_features(f.fd, PLATFORM), 0);
	check_ret(read_ret(f.fd, buf, sizeof(buf)), -EAGAIN);
	fixture_close(&f);
}

static void poll_without_message_says_nothing(void **state)
{
	struct fixture f = opened(S_IOTLB);
	struct pollfd p = { .fd = f.fd,
			    .events = POLLIN | POLLOUT | POLLRDNORM };

	(void)state;
	assert_int_equal(poll(&p, 1, 0), 0);
	fixture_close(&f);
}

/*
 * A device in IOTLB mode with a message: SET_BACKEND finds no translation for
 * the used ring, fails, and asks for it.
 */
static struct fixture with_miss(uint64_t backend_features)
{
	int tap = conf_shared_tap();
	struct fixture f;

	check_ok(fixture_open(&f, conf_dev(), tap, S_READY));
	f.v->features = PLATFORM;
	check_ret(vmm_prepare(f.v), 0);
	check_ret(vmm_set_backend_features(f.fd, backend_features), 0);
	check_ret(vmm_set_backend(f.fd, VMM_RX, tap), -EFAULT);
	return f;
}

static void miss_is_read_in_the_layout_of_the_backend_feature(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct fixture f = with_miss(i ? VMM_BACKEND_IOTLB_V2 : 0);
		struct vhost_vring_addr a = vmm_vring_addr(f.v, VMM_RX);
		struct vhost_msg_v2 v2;
		struct vhost_iotlb_msg *m;
		struct vhost_msg v1;

		check_ret(read_ret(f.fd, &v2, sizeof(v2)), MSG_BYTES);
		memcpy(&v1, &v2, sizeof(v1));
		m = i ? &v2.iotlb : &v1.iotlb;
		assert_int_equal(i ? v2.type : (unsigned int)v1.type,
				 i ? VHOST_IOTLB_MSG_V2 : VHOST_IOTLB_MSG);
		assert_int_equal(m->type, VHOST_IOTLB_MISS);
		assert_int_equal(m->iova, a.used_user_addr);
		assert_int_equal(m->perm, conf_expect("miss of the used ring",
						      VHOST_ACCESS_RO));
		assert_int_equal(m->size, 0);
		assert_int_equal(m->uaddr, 0);
		if (i)
			assert_int_equal(v2.asid, 0);
		fixture_close(&f);
	}
}

static void poll_says_in_while_a_message_waits(void **state)
{
	struct fixture f = with_miss(0);
	struct pollfd p = { .fd = f.fd,
			    .events = POLLIN | POLLOUT | POLLRDNORM };
	uint8_t buf[MSG_BYTES];

	(void)state;
	assert_int_equal(poll(&p, 1, CONF_MS), 1);
	assert_int_equal(p.revents, POLLIN | POLLRDNORM);
	assert_int_equal(poll(&p, 1, 0), 1);
	set_nonblock(f.fd);
	check_ret(read_ret(f.fd, buf, sizeof(buf)), MSG_BYTES);
	while (read_ret(f.fd, buf, sizeof(buf)) == MSG_BYTES)
		;
	assert_int_equal(poll(&p, 1, 0), 0);
	fixture_close(&f);
}

static void longer_read_returns_one_message(void **state)
{
	struct fixture f = with_miss(VMM_BACKEND_IOTLB_V2);
	uint8_t buf[4 * MSG_BYTES];

	(void)state;
	check_ret(read_ret(f.fd, buf, sizeof(buf)), MSG_BYTES);
	fixture_close(&f);
}

static void short_read_keeps_the_message(void **state)
{
	struct fixture f = with_miss(0);
	uint8_t buf[MSG_BYTES];

	(void)state;
	check_ret(read_ret(f.fd, buf, 71), 0);
	check_ret(read_ret(f.fd, buf, 72), MSG_BYTES);
	fixture_close(&f);
}

static void set_backend_minus_1_drops_messages(void **state)
{
	struct fixture f = with_miss(0);
	struct pollfd p = { .fd = f.fd, .events = POLLIN };

	(void)state;
	assert_int_equal(poll(&p, 1, CONF_MS), 1);
	check_ret(vmm_set_backend(f.fd, VMM_TX, -1), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	fixture_close(&f);
}

static void read_after_reset_owner_is_ebadfd(void **state)
{
	struct fixture f = with_miss(0);
	struct pollfd p = { .fd = f.fd, .events = POLLIN };
	uint8_t buf[MSG_BYTES];

	(void)state;
	check_ret(vmm_reset_owner(f.fd), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	check_ret(read_ret(f.fd, buf, sizeof(buf)), -EBADFD);
	fixture_close(&f);
}

/* ---- a reader that waits ---- */

struct reader {
	pthread_t thread;
	int fd;
	int ret;
	struct vhost_msg_v2 msg;
};

static void *reader_main(void *opaque)
{
	struct reader *r = opaque;

	__atomic_store_n(&r->ret, read_ret(r->fd, &r->msg, sizeof(r->msg)),
			 __ATOMIC_RELEASE);
	return NULL;
}

/* The state of the thread says when it has gone to sleep in read(2). */
static void reader_wait_asleep(pid_t tid)
{
	int64_t end = vmm_now_ms() + CONF_MS;
	char path[64];
	char text[512];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
	while (vmm_now_ms() < end) {
		const char *p;

		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
		assert_true(n > 0);
		text[n] = '\0';
		p = strrchr(text, ')');
		if (p && p[2] == 'S')
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("reader does not sleep");
}

static pid_t reader_tid;

static void *tid_reader_main(void *opaque)
{
	__atomic_store_n(&reader_tid, gettid(), __ATOMIC_RELEASE);
	return reader_main(opaque);
}

static void reader_start_asleep(struct reader *r, int fd)
{
	pid_t tid;

	r->fd = fd;
	r->ret = -EINPROGRESS;
	__atomic_store_n(&reader_tid, 0, __ATOMIC_RELEASE);
	assert_int_equal(pthread_create(&r->thread, NULL, tid_reader_main, r),
			 0);
	while (!(tid = __atomic_load_n(&reader_tid, __ATOMIC_ACQUIRE)))
		sched_yield();
	reader_wait_asleep(tid);
}

static void blocked_reader_gets_the_message(void **state)
{
	struct fixture f = with_miss(VMM_BACKEND_IOTLB_V2);
	struct reader r;

	(void)state;
	check_ret(vmm_set_backend(f.fd, VMM_TX, -1), 0); /* drop it */
	reader_start_asleep(&r, f.fd);
	assert_int_equal(__atomic_load_n(&r.ret, __ATOMIC_ACQUIRE),
			 -EINPROGRESS);
	check_ret(vmm_set_backend(f.fd, VMM_RX, f.tap), -EFAULT);
	pthread_join(r.thread, NULL);
	check_ret(r.ret, MSG_BYTES);
	assert_int_equal(r.msg.iotlb.type, VHOST_IOTLB_MISS);
	fixture_close(&f);
}

static void blocked_reader_is_woken_by_reset_owner(void **state)
{
	struct fixture f = opened(S_IOTLB);
	struct reader r;

	(void)state;
	reader_start_asleep(&r, f.fd);
	check_ret(vmm_reset_owner(f.fd), 0);
	pthread_join(r.thread, NULL);
	check_ret(r.ret, -EBADFD);
	fixture_close(&f);
}

static void on_signal(int sig)
{
	(void)sig;
}

static void signal_interrupts_a_blocked_reader(void **state)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct fixture f = opened(S_IOTLB);
	struct reader r;

	(void)state;
	sigaction(SIGUSR1, &sa, NULL);
	reader_start_asleep(&r, f.fd);
	pthread_kill(r.thread, SIGUSR1);
	pthread_join(r.thread, NULL);
	check_ret(r.ret, -EINTR);
	fixture_close(&f);
}

static void anyone_may_write_and_poll(void **state)
{
	struct fixture f = opened(S_IOTLB);
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0)
		_exit(-vmm_iotlb_send(f.fd, VHOST_IOTLB_INVALIDATE, 0, 4096, 0,
				      0));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fixture_close(&f);
}

/* ---- whatever else a file can do ---- */

/* VHOST_SET_FEATURES needs no owner, and with it there is an IOTLB. */
static void iotlb_is_written_without_an_owner(void **state)
{
	int fd = conf_open();

	(void)state;
	check_ret(vmm_iotlb_send(fd, VHOST_IOTLB_UPDATE, 0, 4096, UVA,
				 VHOST_ACCESS_RW),
		  -EFAULT);
	check_ret(vmm_set_features(fd, PLATFORM), 0);
	check_ret(vmm_iotlb_send(fd, VHOST_IOTLB_UPDATE, 0, 4096, UVA,
				 VHOST_ACCESS_RW),
		  0);
	check_ret(vmm_iotlb_send(fd, VHOST_IOTLB_UPDATE, 4096, 4096, KERNEL_UVA,
				 VHOST_ACCESS_RO),
		  -EFAULT);
	check_ret(vmm_iotlb_send(fd, VHOST_IOTLB_INVALIDATE, 0, 4096, 0, 0), 0);
	close(fd);
}

static void other_file_operations(void **state)
{
	struct fixture f = opened(S_OWNED);
	uint8_t byte;

	(void)state;
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ, MAP_SHARED, f.fd, 0),
			 MAP_FAILED);
	assert_int_equal(errno, ENODEV);
	check_ret(lseek(f.fd, 5, SEEK_SET), conf_expect("lseek", 0));
	check_errno(fsync(f.fd), EINVAL);
	check_errno(ftruncate(f.fd, 0), EINVAL);
	check_ret(pread(f.fd, &byte, 1, 77), 0);
	fixture_close(&f);
}

static const struct CMUnitTest functions[] = {
	cmocka_unit_test(short_reads_return_0),
	cmocka_unit_test(blocking_read_without_iotlb_is_ebadfd),
	cmocka_unit_test(nonblocking_read_without_message_is_eagain),
	cmocka_unit_test(poll_without_message_says_nothing),
	cmocka_unit_test(miss_is_read_in_the_layout_of_the_backend_feature),
	cmocka_unit_test(poll_says_in_while_a_message_waits),
	cmocka_unit_test(longer_read_returns_one_message),
	cmocka_unit_test(short_read_keeps_the_message),
	cmocka_unit_test(set_backend_minus_1_drops_messages),
	cmocka_unit_test(read_after_reset_owner_is_ebadfd),
	cmocka_unit_test(blocked_reader_gets_the_message),
	cmocka_unit_test(blocked_reader_is_woken_by_reset_owner),
	cmocka_unit_test(signal_interrupts_a_blocked_reader),
	cmocka_unit_test(anyone_may_write_and_poll),
	cmocka_unit_test(iotlb_is_written_without_an_owner),
	cmocka_unit_test(other_file_operations),
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[COUNT(writes) + COUNT(functions)];
	size_t n = 0;
	size_t i;

	for (i = 0; i < COUNT(writes); i++)
		tests[n++] = (struct CMUnitTest){
			.name = writes[i].name,
			.test_func = write_message,
			.initial_state = (void *)(uintptr_t)&writes[i],
		};
	for (i = 0; i < COUNT(functions); i++)
		tests[n++] = functions[i];
	return conf_main("chardev", tests, n, argc, argv);
}
