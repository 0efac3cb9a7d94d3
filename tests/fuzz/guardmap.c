/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is mapped has a page on each side that must not be touched, as ASan does
 * not know where it ends. Linked with --wrap=mmap and --wrap=munmap.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)

void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t offset);
int __real_munmap(void *addr, size_t len);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t offset);
int __wrap_munmap(void *addr, size_t len);

static size_t whole(size_t len)
{
	return ((len + PAGE - 1) & ~(PAGE - 1)) + 2 * PAGE;
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd,
		  off_t offset)
{
	uint8_t *p =
		__real_mmap(addr, whole(len), PROT_NONE, flags, fd, offset);

	if (p == MAP_FAILED)
		return p;
	if (mprotect(p + PAGE, len, prot) < 0) {
		__real_munmap(p, whole(len));
		return MAP_FAILED;
	}
	return p + PAGE;
}

int __wrap_munmap(void *addr, size_t len)
{
	return __real_munmap((uint8_t *)addr - PAGE, whole(len));
}
