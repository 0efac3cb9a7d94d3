/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm_user.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>

#include "netport.h"
#include "vu_server.h"

struct vmm_user {
	struct vu_session *session;
	sem_t closed;
	int backend; /* atomic */
};

static int open_port(int fd, struct netport **out)
{
	int ours = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	int ret;

	if (ours < 0)
		return -errno;
	ret = netport_from_fd(ours, out);
	if (ret < 0)
		close(ours);
	return ret;
}

/* On the session's control thread. */
static int open_ports(void *ctx, unsigned int pair, struct netport **rx,
		      struct netport **tx)
{
	struct vmm_user *u = ctx;
	int fd = __atomic_load_n(&u->backend, __ATOMIC_ACQUIRE);
	int ret;

	(void)pair;
	*rx = *tx = NULL;
	if (fd < 0)
		return -ENODEV;
	ret = open_port(fd, rx);
	if (ret == 0)
		ret = open_port(fd, tx);
	if (ret < 0) {
		netport_close(*rx);
		*rx = NULL;
	}
	return ret;
}

static void on_closed(void *ctx, struct vu_session *s)
{
	struct vmm_user *u = ctx;

	(void)s;
	sem_post(&u->closed);
}

int vmm_user_new(struct vmm_user **out, int *sock)
{
	struct vu_session_config config = {
		.queue_pairs = 1,
		.open_ports = open_ports,
		.closed = on_closed,
	};
	struct vmm_user *u = calloc(1, sizeof(*u));
	int pair[2], ret;

	if (!u)
		return -ENOMEM;
	u->backend = -1;
	sem_init(&u->closed, 0, 0);
	config.ctx = u;
	log_tag_init(&config.tag, "vmm-user");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		ret = -errno;
		goto err_free;
	}
	ret = vu_session_new(&config, pair[1], &u->session);
	if (ret < 0)
		goto err_close;
	*sock = pair[0];
	*out = u;
	return 0;

err_close:
	close(pair[0]);
	close(pair[1]);
err_free:
	sem_destroy(&u->closed);
	free(u);
	return ret;
}

void vmm_user_free(struct vmm_user *u)
{
	if (!u)
		return;
	while (sem_wait(&u->closed) < 0)
		continue;
	vu_session_free(u->session);
	sem_destroy(&u->closed);
	free(u);
}

void vmm_user_backend(struct vmm_user *u, int fd)
{
	__atomic_store_n(&u->backend, fd, __ATOMIC_RELEASE);
}
