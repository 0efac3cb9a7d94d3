/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sockport.h is a port for tests: netport.h over one end of a SOCK_SEQPACKET
 * socketpair, whose other end is the test's. A program links it in the place of
 * net/port/netport.c, so that vdev_net_set_backend() takes such a socket.
 * Frames are real messages, and a full socket is a real EAGAIN; the script
 * below adds what a socket does not do by itself.
 */
#ifndef SOCKPORT_H
#define SOCKPORT_H

#include <stdbool.h>
#include <stdint.h>
#include "netport.h"

/**
 * struct sockport_script - how ports behave; of all ports that this
 * thread uses
 * @send_most:  at most so many frames are taken by one send; 0: no limit
 * @refuse:     so many frames, the next ones, are refused: taken and dropped
 * @fd_error:   netport_from_fd() fails with this
 * @borrowed:   frames of ports made from now on are borrowed: each lies in
 *              memory of exactly its size, which is freed when it is released
 * @sends, @recvs: calls so far
 * @ports:      open now
 * @longest:    most frames of one send
 * @hdr_len:    what the device set, at the last send or receive
 * @tx_own:     and at the last send; then the port has written to all it took
 */
struct sockport_script {
	unsigned int send_most;
	unsigned int refuse;
	int fd_error;
	bool borrowed;
	unsigned int sends, recvs;
	unsigned int ports;
	unsigned int longest;
	unsigned int hdr_len;
	bool tx_own;
};

extern _Thread_local struct sockport_script sockport;

/** sockport_pair() - @fds[0] for the device, @fds[1] the wire, non-blocking */
void sockport_pair(int fds[2]);

/** sockport_stuff() - fill @fd until it takes no more; how many messages */
unsigned int sockport_stuff(int fd);
/** sockport_unstuff() - take as many out at the other end */
void sockport_unstuff(int fd, unsigned int n);

#endif
