/* SPDX-License-Identifier: BSD-3-Clause */
/* hijack_open.c stands for wfilter.c in uvhost-worker-unconfined: no filter. */
#include "wfilter.h"

int wfilter_install(void)
{
	return 0;
}

int wfilter_install_sock(bool postcopy)
{
	(void)postcopy;
	return 0;
}

int wfilter_install_net(void)
{
	return 0;
}
