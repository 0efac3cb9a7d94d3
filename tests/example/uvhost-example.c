/* SPDX-License-Identifier: BSD-3-Clause */
/* uvhost-example PATH: what is behind a vhost device, whatever its kind.
 * cc uvhost-example.c $(pkg-config --cflags --libs uvhost) */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uvhost/frontend.h>

static int open_device(const char *path, struct uvh **fe)
{
	struct stat st;
	int ret;

	if (!strcmp(path, "inproc"))
		return uvh_inproc_new(NULL, fe);
	if (stat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		return uvh_user_connect(path, 1000, fe);
	ret = uvh_vdpa_open(path,
			    fe); /* -EPERM: a vhost device without owner */
	return ret == -EPERM || ret == -ENOTTY ? uvh_kernel_open(path, fe)
					       : ret;
}

int main(int argc, char **argv)
{
	uint64_t features = 0;
	unsigned int slots = 0;
	struct uvh *fe = NULL;
	int ret = argc == 2 ? open_device(argv[1], &fe) : -EINVAL;

	if (ret == 0)
		ret = uvh_set_owner(fe);
	if (ret == 0)
		ret = uvh_get_features(fe, &features);
	if (ret == 0)
		ret = uvh_max_mem_slots(fe, &slots);
	for (unsigned int qi = 0; ret == 0 && qi < uvh_queue_count(fe); qi++)
		ret = uvh_set_vring_num(fe, qi, 256);
	if (ret == 0) {
		printf("%s: %s, %u rings of 256, %u regions, features "
		       "0x%" PRIx64,
		       argv[1], uvh_transport(fe), uvh_queue_count(fe), slots,
		       features);
		for (unsigned int bit = 0; bit < 64; bit++)
			if (features >> bit & 1 && uvh_feature_name(bit))
				printf(" %s", uvh_feature_name(bit));
		puts("");
	} else {
		fprintf(stderr, "%s: %s\n", argv[argc > 1], strerror(-ret));
	}
	uvh_close(fe);
	return ret ? 1 : 0;
}
