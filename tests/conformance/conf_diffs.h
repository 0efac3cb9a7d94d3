/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every expectation that is not the same for all implementations. The baseline
 * written in the tests is what kernels 6.1 to 6.12 do. A row applies to one
 * implementation, on kernels from version @from up to, not including, @below
 * (0: no bound). UVHOST rows say where uvhost decides otherwise, follows a
 * newer kernel, or depends on the one that it runs on.
 *
 * A row that stops being true makes its test fail just like a difference that
 * is not listed.
 *
 *   DIFF(impl, from, below, "expectation", value, "reason")
 */
// clang-format off

DIFF(KERNEL, V(7, 2, 0), ANY, "offered features", 0x10b3d008000, "RING_RESET (40), IN_ORDER (35)")
DIFF(KERNEL, V(7, 2, 0), ANY, "features IN_ORDER", 0, "offered")
DIFF(KERNEL, V(7, 2, 0), ANY, "feature array word 1", 0xa, "UDP tunnel bits 65, 67")
DIFF(KERNEL, V(6, 2, 0), V(6, 17, 0), "offered features", 0x1033d008000, "RING_RESET (40)")
DIFF(KERNEL, V(6, 2, 0), ANY, "features RING_RESET", 0, "offered since 6.2")

/* 7.2, and stable kernels from some version on: 6.12.117 has it, 6.12.107 and
 * 6.1.192 do not */
DIFF(KERNEL, V(7, 2, 0), ANY, "enabling the IOTLB keeps addresses", 0, "cleared on the first enable")
DIFF(KERNEL, V(7, 2, 0), ANY, "iotlb when the feature is cleared", -EFAULT, "dropped with the feature")
DIFF(KERNEL, V(6, 12, 108), V(6, 13, 0), "enabling the IOTLB keeps addresses", 0, "cleared on the first enable (stable)")
DIFF(KERNEL, V(6, 12, 108), V(6, 13, 0), "iotlb when the feature is cleared", -EFAULT, "dropped with the feature (stable)")
DIFF(UVHOST, ANY, ANY, "iotlb when the feature is cleared", -EFAULT, "as 7.2")
DIFF(KERNEL, V(7, 2, 0), ANY, "num_buffers without MRG_RXBUF", 1, "written with VERSION_1")
DIFF(KERNEL, V(7, 3, 0), ANY, "write INVALIDATE size 0", -EFAULT, "refused")

/* 6.17, and 6.12 since some stable version (here: 6.12.117) */
#define FORK_FROM_OWNER(impl, from, below, why)                                \
DIFF(impl, from, below, "SET_FORK_FROM_OWNER/other size", -ENOTTY, why)        \
DIFF(impl, from, below, "SET_FORK_FROM_OWNER/fresh size", -EPERM, why)         \
DIFF(impl, from, below, "SET_FORK_FROM_OWNER/fresh null", -EFAULT, why)        \
DIFF(impl, from, below, "SET_FORK_FROM_OWNER/fresh", 0, why)                   \
DIFF(impl, from, below, "SET_FORK_FROM_OWNER/reset", 0, why)                   \
DIFF(impl, from, below, "SET_FORK_FROM_OWNER/*", -EBUSY, why)                  \
DIFF(impl, from, below, "GET_FORK_FROM_OWNER/other size", -ENOTTY, why)        \
DIFF(impl, from, below, "GET_FORK_FROM_OWNER/fresh size", -EPERM, why)         \
DIFF(impl, from, below, "GET_FORK_FROM_OWNER/*null", -EFAULT, why)             \
DIFF(impl, from, below, "GET_FORK_FROM_OWNER/unmapped", -EFAULT, why)          \
DIFF(impl, from, below, "GET_FORK_FROM_OWNER/kernel pointer", -EFAULT, why)    \
DIFF(impl, from, below, "GET_FORK_FROM_OWNER/cut", -EFAULT, why)               \
DIFF(impl, from, below, "GET_FORK_FROM_OWNER/rdonly", -EFAULT, why)            \
DIFF(impl, from, below, "GET_FORK_FROM_OWNER/*", 0, why)                       \
DIFF(impl, from, below, "fork from owner 0", 0, why)                           \
DIFF(impl, from, below, "fork from owner 2", -EINVAL, why)                     \
DIFF(impl, from, below, "fork from owner, owned", -EBUSY, why)
FORK_FROM_OWNER(KERNEL, V(6, 12, 107), V(6, 13, 0), "has the pair (stable)")
FORK_FROM_OWNER(KERNEL, V(6, 17, 0), ANY, "has the pair")
FORK_FROM_OWNER(UVHOST, ANY, ANY, "has the pair, as 6.17")

/* its worker is a thread of the owner, and ends with the exec */
DIFF(KERNEL, V(6, 4, 0), ANY, "rings after exec*", 2, "nothing is done any more")

#define FEATURES_ARRAY(impl, from, below, why)                                 \
DIFF(impl, from, below, "?ET_FEATURES_ARRAY/other size", -ENOTTY, why)         \
DIFF(impl, from, below, "?ET_FEATURES_ARRAY/fresh size", -EPERM, why)          \
DIFF(impl, from, below, "?ET_FEATURES_ARRAY/*null", -EFAULT, why)              \
DIFF(impl, from, below, "?ET_FEATURES_ARRAY/unmapped", -EFAULT, why)           \
DIFF(impl, from, below, "?ET_FEATURES_ARRAY/kernel pointer", -EFAULT, why)     \
DIFF(impl, from, below, "?ET_FEATURES_ARRAY/cut", -EFAULT, why)                \
DIFF(impl, from, below, "GET_FEATURES_ARRAY/rdonly", -EFAULT, why)             \
DIFF(impl, from, below, "?ET_FEATURES_ARRAY/*", 0, why)                        \
DIFF(impl, from, below, "features array count [024]", 0, why)                  \
DIFF(impl, from, below, "features array count 2^62", -EFAULT, why)             \
DIFF(impl, from, below, "set features array 0", 0, why)                        \
DIFF(impl, from, below, "set features array bad ?", -EOPNOTSUPP, why)          \
DIFF(impl, from, below, "set features array 2^62", -EFAULT, why)
FEATURES_ARRAY(KERNEL, V(6, 17, 0), ANY, "has the pair")
FEATURES_ARRAY(UVHOST, ANY, ANY, "has the pair, as 6.17")

/* uvhost */
DIFF(UVHOST, ANY, ANY, "log marks neighbours", 1, "copied mode writes whole bytes of the log: up to 7 pages too many")
DIFF(UVHOST, ANY, ANY, "rings after exec of the owner", 0, "an error: private memory goes with its last user, and the device is none")
DIFF(UVHOST, ANY, ANY, "shares what its owner left", -EPERM, "CLONE_VM: no call tells whose memory a process has once its owner is gone")
DIFF(UVHOST, ANY, ANY, "read-only since the last table", 1, "/proc/PID/mem writes it; what is read-only at SET_MEM_TABLE is refused")
DIFF(UVHOST, ANY, ANY, "next in an indirect table", 1, "followed, as VIRTIO 1 says; the kernel reads the table in order")
DIFF(UVHOST, ANY, ANY, "num_buffers without MRG_RXBUF", 1, "VIRTIO 1 wants it; as 7.2")
DIFF(UVHOST, ANY, ANY, "tx short chain without sndbuf", 1, "dropped and used; the kernel retries it without end at full load")
DIFF(UVHOST, ANY, ANY, "tx unreadable chain without sndbuf", 1, "dropped and used; the kernel retries it without end at full load")
DIFF(UVHOST, ANY, ANY, "tx csum beyond the frame", 1, "dropped and used; the kernel retries it without end at full load")
DIFF(UVHOST, ANY, ANY, "write 0 bytes", 0, "CUSE does not forward it, and says 0")
DIFF(UVHOST, ANY, ANY, "tx header * on a tap *, send limit", 100, "sent as without a limit: the kernel's other path takes the tap's header for the frame's")
DIFF(UVHOST, ANY, ANY, "write 40 bytes", 40, "CUSE: more than was asked for would be EIO")
DIFF(UVHOST, ANY, ANY, "write 71 bytes", 71, "CUSE: more than was asked for would be EIO")
DIFF(UVHOST, ANY, ANY, "write V1 40 bytes", 40, "CUSE: more than was asked for would be EIO")
DIFF(UVHOST, ANY, ANY, "enabling the IOTLB keeps addresses", 0, "as 7.2")
DIFF(UVHOST, ANY, ANY, "miss of the used ring", VHOST_ACCESS_WO, "asks for the access it will need")
DIFF(UVHOST, ANY, ANY, "offered features", 0x1033d008000, "RING_RESET (40), as 6.2")
DIFF(UVHOST, ANY, ANY, "features RING_RESET", 0, "RING_RESET (40), as 6.2")

DIFF(UVHOST, ANY, V(6, 9, 0), "test the_first_thread_may_end", CONF_SKIP, "descriptors of a process whose first thread has ended: pidfd_getfd(2) from 6.9")
DIFF(UVHOST, ANY, V(6, 9, 0), "test a_process_with_the_number_of_a_thread_*", CONF_SKIP, "descriptors of a process whose first thread has ended: pidfd_getfd(2) from 6.9")

/* uvhost in this process */
DIFF(INPROC, ANY, ANY, "test memory_that_the_owner_cannot_*", CONF_SKIP, "it is the owner, and copies what it is told to")
DIFF(INPROC, ANY, ANY, "test unreadable_memory_*", CONF_SKIP, "it is the owner, and copies what it is told to")
DIFF(INPROC, ANY, ANY, "test memory_may_become_read_only_*", CONF_SKIP, "it is the owner, and copies what it is told to")
#ifdef __SANITIZE_THREAD__
DIFF(INPROC, ANY, ANY, "rings may be outside the table", 0, "copied by the kernel: TSan does not see what orders the buffers")
#endif

/* uvhost behind vhost-user */
DIFF(USER, ANY, ANY, "rx flags at start", VRING_USED_F_NO_NOTIFY, "the frontend kicks a ring that it starts, as vhost-user.rst asks")
DIFF(USER, ANY, ANY, "rings may be outside the table", 0, "addresses are looked up in the table: nothing else is shared")
DIFF(USER, ANY, ANY, "start with a base outside the ring", -EIO, "an answer says that it failed, not why")
DIFF(USER, ANY, ANY, "send UPDATE, off", -EIO, "an answer says that it failed, not why")
DIFF(USER, ANY, ANY, "send UPDATE kernel", -EIO, "an answer says that it failed, not why")
DIFF(USER, ANY, ANY, "send UPDATE uva wrap", -EIO, "an answer says that it failed, not why")
DIFF(USER, ANY, ANY, "send INVALIDATE, off", -EIO, "an answer says that it failed, not why")
DIFF(USER, ANY, ANY, "iotlb when the feature is cleared", -EIO, "an answer says that it failed, not why")
DIFF(USER, ANY, ANY, "start without a translation", 0, "the start waits for the update")
DIFF(USER, ANY, ANY, "err of a start without a translation", 0, "the start waits for the update")
DIFF(USER, ANY, ANY, "test enabling_the_iotlb_keeps_ring_addresses", CONF_SKIP, "RESET_OWNER is deprecated and does not stop rings")
DIFF(USER, ANY, ANY, "test *_drops_messages", CONF_SKIP, "sent as they arise, and then with the frontend")
DIFF(USER, ANY, ANY, "test busy_polling_changes_nothing", CONF_SKIP, "no message for it")
DIFF(USER, ANY, ANY, "test backend_is_replaced_under_traffic", CONF_SKIP, "the port is chosen by the backend")
DIFF(USER, ANY, ANY, "test failed_backend_leaves_the_running_one", CONF_SKIP, "the port is chosen by the backend")
DIFF(USER, ANY, ANY, "bit 27 is the header", 0, "bit 27 is ANY_LAYOUT here")
DIFF(USER, ANY, ANY, "test setting_the_same_backend_restarts_nothing", CONF_SKIP, "the port is chosen by the backend")
DIFF(USER, ANY, ANY, "test tap_that_disappears_stops_nothing_else", CONF_SKIP, "the port is chosen by the backend")
DIFF(USER, ANY, ANY, "test reset_owner_under_traffic", CONF_SKIP, "RESET_OWNER is deprecated and does not stop rings")
DIFF(USER, ANY, ANY, "test every_style_moves_frames", CONF_SKIP, "styles of ioctls")
DIFF(USER, ANY, ANY, "test chain_without_frame_is_skipped_when_vhost_has_the_header", CONF_SKIP, "bit 27 is ANY_LAYOUT here")
DIFF(USER, ANY, ANY, "test bit_27_*", CONF_SKIP, "bit 27 is ANY_LAYOUT here")
DIFF(USER, ANY, ANY, "test packet_socket_*", CONF_SKIP, "bit 27 is ANY_LAYOUT here")
DIFF(USER, ANY, ANY, "test chain_with_a_*_part_is_skipped", CONF_SKIP, "how far a running ring came cannot be asked")
DIFF(USER, ANY, ANY, "test bad_second_buffer_takes_the_first_along", CONF_SKIP, "how far a running ring came cannot be asked")
DIFF(USER, ANY, ANY, "test unaligned_heap_memory", CONF_SKIP, "no file behind it")
DIFF(USER, ANY, ANY, "test unmapped_memory_in_a_region_loses_the_frame_only", CONF_SKIP, "a region beyond its file is refused")
DIFF(USER, ANY, ANY, "test memory_that_the_owner_cannot_*", CONF_SKIP, "mapped by the backend, as its descriptor allows")
DIFF(USER, ANY, ANY, "test unreadable_memory_*", CONF_SKIP, "mapped by the backend, as its descriptor allows")
DIFF(USER, ANY, ANY, "test memory_may_become_read_only_*", CONF_SKIP, "mapped by the backend, as its descriptor allows")
DIFF(USER, ANY, ANY, "test rings_live_without_any_region", CONF_SKIP, "rings are in the table")
DIFF(USER, ANY, ANY, "test lowest_region_wins_where_regions_overlap", CONF_SKIP, "overlaps are refused")
DIFF(USER, ANY, ANY, "test used_ring_must_be_writable_at_start", CONF_SKIP, "the start waits for the update")

/* uvhost behind vhost-vdpa and VDUSE */
DIFF(VDPA, ANY, ANY, "rings may be outside the table", 0, "ring addresses are IOVAs")
DIFF(VDPA, ANY, ANY, "test busy_polling_changes_nothing", CONF_SKIP, "no call for it")
DIFF(VDPA, ANY, ANY, "test one_ring_may_stop_alone", CONF_SKIP, "a running device of VDUSE is not told")
DIFF(VDPA, ANY, ANY, "test backend_is_replaced_under_traffic", CONF_SKIP, "the port is chosen by the device")
DIFF(VDPA, ANY, ANY, "test failed_backend_leaves_the_running_one", CONF_SKIP, "the port is chosen by the device")
DIFF(VDPA, ANY, ANY, "test empty_rx_ring_wants_no_kick_before_a_frame", CONF_SKIP, "vduse-net's kick eventfd is never read, so each start finds a kick")
DIFF(VDPA, ANY, ANY, "bit 27 is the header", 0, "bit 27 is ANY_LAYOUT here")
DIFF(VDPA, ANY, ANY, "test used_ring_may_be_write_only_*", CONF_SKIP, "ring addresses are IOVAs")
DIFF(VDPA, ANY, ANY, "test base_is_read_back_as_it_was_set", CONF_SKIP, "a ring of VDUSE that has not run has no base")
DIFF(VDPA, ANY, ANY, "test setting_the_same_backend_restarts_nothing", CONF_SKIP, "the port is chosen by the device")
DIFF(VDPA, ANY, ANY, "test tap_that_disappears_stops_nothing_else", CONF_SKIP, "the port is chosen by the device")
DIFF(VDPA, ANY, ANY, "test reset_owner_under_traffic", CONF_SKIP, "no such call")
DIFF(VDPA, ANY, ANY, "test every_style_moves_frames", CONF_SKIP, "styles of ioctls")
DIFF(VDPA, ANY, ANY, "test chain_with_a_*_part_is_skipped", CONF_SKIP, "VDUSE has no way to signal err")
DIFF(VDPA, ANY, ANY, "test bad_second_buffer_takes_the_first_along", CONF_SKIP, "VDUSE has no way to signal err")
DIFF(VDPA, ANY, ANY, "test a*_is_an_error", CONF_SKIP, "VDUSE has no way to signal err")
DIFF(VDPA, ANY, ANY, "packed rings of any size", 0, "the kernel in between takes powers of two only")
DIFF(VDPA, ANY, ANY, "test only_a_packed_ring_has_any_size", CONF_SKIP, "the kernel in between takes powers of two only")
DIFF(VDPA, ANY, ANY, "test a_base_outside_the_ring_*", CONF_SKIP, "rings start together")
DIFF(VDPA, ANY, ANY, "test table_is_replaced_while_active", CONF_SKIP, "VDUSE has no way to signal err")
DIFF(VDPA, ANY, ANY, "test hugetlb_memory", CONF_SKIP, "vduse-net cannot map parts of a huge page")
DIFF(VDPA, ANY, ANY, "test unaligned_heap_memory", CONF_SKIP, "no file behind it")
DIFF(VDPA, ANY, ANY, "test unmapped_memory_in_a_region_loses_the_frame_only", CONF_SKIP, "memory that is not there is refused")
DIFF(VDPA, ANY, ANY, "test memory_that_the_owner_cannot_*", CONF_SKIP, "mapped by vduse-net, as its descriptor allows")
DIFF(VDPA, ANY, ANY, "test unreadable_memory_*", CONF_SKIP, "mapped by vduse-net, as its descriptor allows")
DIFF(VDPA, ANY, ANY, "test memory_may_become_read_only_*", CONF_SKIP, "mapped by vduse-net, as its descriptor allows")
DIFF(VDPA, ANY, ANY, "test rings_live_without_any_region", CONF_SKIP, "ring addresses are IOVAs")
DIFF(VDPA, ANY, ANY, "test lowest_region_wins_where_regions_overlap", CONF_SKIP, "overlaps are refused")
DIFF(VDPA, ANY, ANY, "test *log_*", CONF_SKIP, "no dirty log")
DIFF(VDPA, ANY, ANY, "test misses_are_asked_for_and_answered", CONF_SKIP, "its IOTLB asks for nothing")
DIFF(VDPA, ANY, ANY, "test buffers_cross_iommu_pages", CONF_SKIP, "its IOTLB asks for nothing")
DIFF(VDPA, ANY, ANY, "test one_large_entry_needs_no_miss", CONF_SKIP, "its IOTLB asks for nothing")
DIFF(VDPA, ANY, ANY, "test invalidation_is_asked_for_again", CONF_SKIP, "its IOTLB asks for nothing")
DIFF(VDPA, ANY, ANY, "test unanswered_miss_*", CONF_SKIP, "its IOTLB asks for nothing")
DIFF(VDPA, ANY, ANY, "test wrong_permission_is_an_error_of_the_buffer", CONF_SKIP, "its IOTLB asks for nothing")
DIFF(VDPA, ANY, ANY, "test setting_the_feature_again_empties_the_iotlb", CONF_SKIP, "its IOTLB asks for nothing")
DIFF(VDPA, ANY, ANY, "test used_ring_must_be_writable_at_start", CONF_SKIP, "its IOTLB asks for nothing")
// clang-format on
