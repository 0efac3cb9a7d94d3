/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm_vdpa.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/virtio_config.h>

static int add_status(struct uvh *fe, uint8_t bits)
{
	uint8_t status = 0;
	int ret = uvh_get_status(fe, &status);

	if (ret == 0)
		ret = uvh_set_status(fe, status | bits);
	if (ret == 0)
		ret = uvh_get_status(fe, &status);
	if (ret < 0)
		return ret;
	return (status & bits) == bits ? 0 : -EIO;
}

int vmm_vdpa_features(struct uvh *fe, uint64_t features)
{
	int ret = add_status(fe, VIRTIO_CONFIG_S_ACKNOWLEDGE);

	if (ret == 0)
		ret = add_status(fe, VIRTIO_CONFIG_S_DRIVER);
	if (ret == 0)
		ret = uvh_set_features(fe, features);
	return ret < 0 ? ret : add_status(fe, VIRTIO_CONFIG_S_FEATURES_OK);
}

int vmm_vdpa_start(struct uvh *fe)
{
	int ret = 0;

	for (unsigned int qi = 0; ret == 0 && qi < uvh_queue_count(fe); qi++)
		ret = uvh_vring_start(fe, qi, -1);
	return ret < 0 ? ret : add_status(fe, VIRTIO_CONFIG_S_DRIVER_OK);
}

static int send_fd(int sock, int fd)
{
	char byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr hdr;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int vmm_vdpa_port(const char *path, int fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret = 0;
	char byte;

	if (sock < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		ret = -errno;
	if (ret == 0)
		ret = send_fd(sock, fd);
	/* It has it when it says so. */
	if (ret == 0 && recv(sock, &byte, 1, 0) != 1)
		ret = -EPIPE;
	close(sock);
	return ret;
}
