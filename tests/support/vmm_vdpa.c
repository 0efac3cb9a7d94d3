/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmm_vdpa.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/virtio_config.h>

#include "fdmsg.h"

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

int vmm_vdpa_port(const char *path, int fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret = 0;
	char byte = 0;

	if (sock < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		ret = -errno;
	if (ret == 0)
		ret = (int)fdmsg_send(sock, &byte, 1, &fd, 1, 0);
	/* It has it when it says so. */
	if (ret >= 0 && recv(sock, &byte, 1, 0) != 1)
		ret = -EPIPE;
	close(sock);
	return ret < 0 ? ret : 0;
}
