# SPDX-License-Identifier: BSD-3-Clause
# make help        what there is to make
# V=1              show the commands        SAN=address,undefined  sanitizers
# WERROR=1         warnings are errors      O=DIR                  build folder

CC      ?= cc
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR  ?= $(PREFIX)/share/man
UDEVDIR ?= $(PREFIX)/lib/udev/rules.d
UNITDIR ?= $(PREFIX)/lib/systemd/system
MODLOADDIR ?= $(PREFIX)/lib/modules-load.d
PKG_CONFIG ?= pkg-config

VERSION := 0.1.0
comma   := ,
O       ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))$(if $(FUZZ),-fuzz)
CFLAGS  ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wvla -Wundef -Wformat=2 -Wpointer-arith \
	-Wstrict-prototypes -Wmissing-prototypes -Wimplicit-fallthrough
BASE := -std=gnu11 -D_GNU_SOURCE -MMD -MP -pthread $(WARN) \
	$(if $(WERROR),-Werror) \
	$(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
LINK := -pthread $(if $(SAN),-fsanitize=$(SAN))
Q    := $(if $(filter 1,$(V)),,@)
say   = $(if $(Q),@printf '  %-7s %s\n' $(1) $(2))
pkg   = $(shell $(PKG_CONFIG) $(1) 2>/dev/null)

NET_SRC   := net/log.c net/port.c net/tap.c net/packet.c net/null.c
VHOST_SRC := vhost/aspace.c vhost/rangemap.c vhost/iotlb.c vhost/dirtylog.c \
	vhost/memview.c vhost/virtq.c vhost/netdev.c vhost/vdev.c vhost/worker.c
CUSE_SRC  := cuse/main.c cuse/options.c cuse/chardev.c cuse/ioctl.c cuse/peer.c

objs = $(patsubst %.c,$(O)/%.o,$(1))
CORE := $(call objs,$(NET_SRC) $(VHOST_SRC))

all: $(O)/uvhostd

$(O)/uvhostd: $(call objs,$(CUSE_SRC)) $(CORE)
	$(call say,LD,$@)
	$(Q)$(CC) $(LINK) $(LDFLAGS) -o $@ $^ $(call pkg,--libs fuse3) $(LDLIBS)

# A file sees include/ and its own folder: that is the module boundary.
$(O)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(BASE) -Iinclude -I$(<D) $(EXTRA) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$(O)/cuse/%.o: EXTRA = $(call pkg,--cflags fuse3) -DUVHOST_VERSION='"$(VERSION)"'

-include $(patsubst %.c,$(O)/%.d,$(NET_SRC) $(VHOST_SRC) $(CUSE_SRC))
.PHONY: all
