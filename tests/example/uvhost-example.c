/* SPDX-License-Identifier: BSD-3-Clause */
/* uvhost-example PATH: what is behind a vhost device, whatever its kind.
 * cc uvhost-example.c $(pkg-config --cflags --libs uvhost) */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <uvhost/frontend.h>

int main(int argc, char **argv)
{
	const char *path = argc == 2 ? argv[1] : "inproc";
	uint64_t features = 0;
	unsigned int slots = 0;
	struct uvh *fe = NULL;
	int ret = strcmp(path, "inproc") ? uvh_open(path, 1000, &fe)
					 : uvh_inproc_new(NULL, &fe);

	if (ret == 0)
		ret = uvh_set_owner(fe);
	if (ret == 0)
		ret = uvh_get_features(fe, &features);
	if (ret == 0)
		ret = uvh_max_mem_slots(fe, &slots);
	for (unsigned int qi = 0; ret == 0 && qi < uvh_queue_count(fe); qi++)
		ret = uvh_set_vring_num(fe, qi, 256);
	if (ret == 0)
		printf("%s: %s, %u rings of 256, %u regions, 0x%" PRIx64, path,
		       uvh_transport(fe), uvh_queue_count(fe), slots, features);
	for (unsigned int bit = 0; ret == 0 && bit < 64; bit++)
		if (features >> bit & 1 && uvh_feature_name(bit))
			printf(" %s", uvh_feature_name(bit));
	puts(ret ? strerror(-ret) : "");
	uvh_close(fe);
	return ret ? 1 : 0;
}
