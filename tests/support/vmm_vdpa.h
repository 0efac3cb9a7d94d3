/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmm_vdpa.h has what a driver needs for a vDPA device beside the calls of all
 * transports: the device status and, where the device is vduse-net, the port
 * behind it.
 */
#ifndef VMM_VDPA_H
#define VMM_VDPA_H

#include <stdint.h>
#include "uvhost/frontend.h"

/** vmm_vdpa_features() - status and features up to FEATURES_OK; 0 or -errno */
int vmm_vdpa_features(struct uvh *fe, uint64_t features);

/** vmm_vdpa_start() - enable all rings and say DRIVER_OK; 0; -EIO (the device
 * does not want to); -errno */
int vmm_vdpa_start(struct uvh *fe);

/**
 * vmm_vdpa_port() - give vduse-net the port for its next start
 * @path: its socket
 * @fd:   tap or packet socket; borrowed
 */
int vmm_vdpa_port(const char *path, int fd);

#endif
