/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmm_user.h is a vhost-user backend for one VMM: a session of the product's
 * server in this process, at the other end of a socket.
 */
#ifndef VMM_USER_H
#define VMM_USER_H

struct vmm_user;

/** vmm_user_new() - start it; the frontend's end into *@sock; 0 or -errno */
int vmm_user_new(struct vmm_user **out, int *sock);
/** vmm_user_free() - once the frontend's end is closed; NULL is fine */
void vmm_user_free(struct vmm_user *u);

/** vmm_user_backend() - what its rings will be attached to at their first
 * start; borrowed, -1: nothing */
void vmm_user_backend(struct vmm_user *u, int fd);

#endif
