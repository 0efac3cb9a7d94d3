/* SPDX-License-Identifier: BSD-3-Clause */
/* keys.c has the table of keys, and the functions that parse their values. */
#include "keys.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "bytes.h"
#include "netport.h"
#include "offload.h"
#include "options.h"
#include "parse.h"
#include "vu_server.h"

/* CUSE accepts 32 bits of each, but dev_t has 12 and 20. */
#define MAJOR_MAX 4095
#define MINOR_MAX ((1u << 20) - 1)
/* virtio 1.2 §5.1.4.1 */
#define MTU_MIN 68
#define MTU_MAX 65535
#define VLAN_MAX 4094

/* ---- values ---- */

static int complain_range(const char *label, const char *text, uint64_t min,
			  uint64_t max, struct error_line *c)
{
	return complain(c, "%s: '%s' is not within %llu...%llu", label, text,
			(unsigned long long)min, (unsigned long long)max);
}

int key_number(const char *label, const char *text, uint64_t min, uint64_t max,
	       uint64_t *out, struct error_line *c)
{
	int ret = parse_number(text, min, max, out);

	if (ret == -EINVAL)
		return complain(c, "%s: '%s' is not a number", label, text);
	return ret < 0 ? complain_range(label, text, min, max, c) : 0;
}

static int read_number(const struct key *key, const char *label,
		       const char *text, void *field, struct error_line *c)
{
	uint64_t n = 0;
	int ret = key_number(label, text, key->min, key->max, &n, c);

	if (ret == 0)
		*(unsigned int *)field = (unsigned int)n;
	return ret;
}

/* Bytes: a number, with or without k, M or G (powers of 1024). */
static int read_size(const struct key *key, const char *label, const char *text,
		     void *field, struct error_line *c)
{
	int ret = parse_size(text, key->min, key->max, field);

	if (ret == -EINVAL)
		return complain(c,
				"%s: '%s' is no size: expected a number, and "
				"k, M or G",
				label, text);
	return ret < 0 ? complain_range(label, text, key->min, key->max, c) : 0;
}

static int read_flag(const struct key *key, const char *label, const char *text,
		     void *field, struct error_line *c)
{
	static const char *const names[] = { "no", "off", "yes", "on" };
	int i = parse_choice(text ? text : "yes", names, ARRAY_SIZE(names));

	(void)key;
	if (i < 0)
		return complain(c, "%s: '%s' is neither yes (on) nor no (off)",
				label, text);
	*(bool *)field = i >= 2;
	return 0;
}

static int read_choice(const struct key *key, const char *label,
		       const char *text, void *field, struct error_line *c)
{
	bool yes = false;
	int ret = read_flag(key, label, text, &yes, c);

	if (ret == 0)
		*(enum option_choice *)field = yes ? CHOICE_YES : CHOICE_NO;
	return ret;
}

static int read_text(const struct key *key, const char *label, const char *text,
		     void *field, struct error_line *c)
{
	size_t len = strlen(text);

	if (len == 0 || len > key->max)
		return complain(c, "%s: '%s': expected 1...%u bytes", label,
				text, (unsigned int)key->max);
	memcpy(field, text, len + 1);
	return 0;
}

/* The name of a network or of its port has only characters that are safe in log
 * lines. */
static int read_name(const struct key *key, const char *label, const char *text,
		     void *field, struct error_line *c)
{
	size_t len = strlen(text);
	bool ok = len > 0 && len <= key->max;

	for (size_t i = 0; ok && i < len; i++)
		ok = isalnum((unsigned char)text[i]) ||
		     strchr("-_.:+", text[i]);
	if (!ok)
		return complain(c,
				"%s: '%s': a name has 1...%u of A-Z a-z 0-9 "
				"- _ . : and +",
				label, text, (unsigned int)key->max);
	memcpy(field, text, len + 1);
	return 0;
}

static int read_mac(const struct key *key, const char *label, const char *text,
		    void *field, struct error_line *c)
{
	static const uint8_t zero[6];
	uint8_t mac[6];

	(void)key;
	if (parse_mac(text, mac) < 0 || mac[0] & 1 ||
	    memcmp(mac, zero, sizeof(mac)) == 0)
		return complain(c,
				"%s: '%s' is no unicast MAC address: expected "
				"six bytes as in 02:00:00:00:00:01",
				label, text);
	memcpy(field, mac, sizeof(mac));
	return 0;
}

static int read_level(const struct key *key, const char *label,
		      const char *text, void *field, struct error_line *c)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};

	int i = parse_choice(text, names, ARRAY_SIZE(names));

	(void)key;
	if (i < 0)
		return complain(c,
				"%s: '%s' is none of error, warning, info, "
				"debug",
				label, text);
	*(enum log_level *)field = i;
	return 0;
}

/* At most four digits, from 1 to VLAN_MAX */
static int read_vlan(const char **text, uint64_t *vlan)
{
	const char *first = *text;

	if (parse_digits(text, 10, vlan) < 0 || *text - first > 4 ||
	    *vlan < 1 || *vlan > VLAN_MAX)
		return -EINVAL;
	return 0;
}

/* "20", or "20-30" */
static int read_range(const char *word, uint64_t *first, uint64_t *last)
{
	if (read_vlan(&word, first) < 0)
		return -EINVAL;
	*last = *first;
	if (*word == '-') {
		word++;
		if (read_vlan(&word, last) < 0)
			return -EINVAL;
	}
	return *word || *first > *last ? -EINVAL : 0;
}

static int read_vlans(const struct key *key, const char *label,
		      const char *text, void *field, struct error_line *c)
{
	uint64_t set[NETWORK_VLANS / 64] = { 0 };
	uint64_t first, last;
	const char *list = text;
	char word[16];

	(void)key;
	while (parse_plus(&list, word, sizeof(word))) {
		if (read_range(word, &first, &last) < 0)
			return complain(c,
					"%s: '%s' is no VLAN (1...%d) or range "
					"of them: expected e.g. 10+20-30",
					label, word, VLAN_MAX);
		for (uint64_t v = first; v <= last; v++)
			set[v / 64] |= BIT(v % 64);
	}
	memcpy(field, set, sizeof(set));
	return 0;
}

static const struct {
	const char *name;
	unsigned int bit;
} offload_names[] = {
#define NAME(name, host, guest) { #name, VIRTIO_NET_F_##guest },
	OFFLOADS_OF_NETWORK(NAME)
#undef NAME
};

/* Return: the feature bit; 0: there is no such name. */
static uint64_t find_offload(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(offload_names); i++)
		if (strcmp(word, offload_names[i].name) == 0)
			return BIT(offload_names[i].bit);
	return 0;
}

/* Return: an offload that @bits require and lack (virtio 1.2 §5.1.3.1), or
 * NULL. */
static const char *missing_offload(uint64_t bits)
{
	uint64_t tso =
		BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6);

	if (bits && !(bits & BIT(VIRTIO_NET_F_GUEST_CSUM)))
		return "csum";
	if (bits & BIT(VIRTIO_NET_F_GUEST_ECN) && !(bits & tso))
		return "tso4 or tso6";
	return NULL;
}

static int read_offloads(const struct key *key, const char *label,
			 const char *text, void *field, struct error_line *c)
{
	const char *list = text, *missing;
	uint64_t bits = 0, bit;
	char word[16];

	(void)key;
	if (strcmp(text, "all") == 0)
		bits = OFFLOADS_GUEST;
	else if (strcmp(text, "none") != 0)
		while (parse_plus(&list, word, sizeof(word))) {
			bit = find_offload(word);
			if (!bit)
				return complain(
					c,
					"%s: '%s' is none of csum, tso4, tso6, "
					"ecn, ufo, uso4, uso6 (joined by +), "
					"all, none",
					label, word);
			bits |= bit;
		}
	missing = missing_offload(bits);
	if (missing)
		return complain(c, "%s: '%s' lacks %s, which the others need",
				label, text, missing);
	*(uint64_t *)field = bits;
	return 0;
}

/* "+NAME...": features that are offered in addition to the default ones. */
static int read_features(const struct key *key, const char *label,
			 const char *text, void *field, struct error_line *c)
{
	const char *list = text[0] == '+' ? text + 1 : NULL;
	uint64_t bits = 0;
	char word[16];

	(void)key;
	if (!list)
		return complain(c,
				"%s: '%s': expected +packed, +in_order or "
				"+packed+in_order",
				label, text);
	while (parse_plus(&list, word, sizeof(word))) {
		if (strcmp(word, "packed") == 0)
			bits |= BIT(VIRTIO_F_RING_PACKED);
		else if (strcmp(word, "in_order") == 0)
			bits |= BIT(VIRTIO_F_IN_ORDER);
		else
			return complain(c,
					"%s: '%s' is none of packed, in_order "
					"(each with a + before it)",
					label, word);
	}
	*(uint64_t *)field = bits;
	return 0;
}

/* ---- the table ---- */

#define IN(type, field) offsetof(struct type, field)

/* clang-format off */
const struct key keys[] = {
	{ "busy-poll-us", KEY_DAEMON, false, read_number, 0, 1000000,
	  IN(options, busy_poll_us), "US",
	  "poll rings so long before sleeping, 0 never (50)" },
	{ "dev-major", KEY_DAEMON, false, read_number, 1, MAJOR_MAX,
	  IN(options, dev_major), "N", "device number (chosen by the kernel)" },
	{ "dev-minor", KEY_DAEMON, false, read_number, 0, MINOR_MAX,
	  IN(options, dev_minor), "N", "device i gets minor N+i (0)" },
	{ "log-level", KEY_DAEMON, false, read_level, 0, 0,
	  IN(options, log_level), "LEVEL", "error, warning, info or debug (info)" },
	{ "max-mem-regions", KEY_DAEMON, false, read_number, 1, OPTIONS_MAX_REGIONS,
	  IN(options, max_mem_regions), "N",
	  "memory regions a device (64, or the host's limit)" },
	{ "max-sessions", KEY_DAEMON, false, read_number, 1, 1u << 16,
	  IN(options, max_sessions), "N", "open files a device (1024)" },
	{ "max-user-sessions", KEY_DAEMON, false, read_number, 1, 1u << 16,
	  IN(options, max_user_sessions), "N",
	  "of these, of one user (3/4 of --max-sessions)" },
	{ "max-process-sessions", KEY_DAEMON, false, read_number, 1, 1u << 16,
	  IN(options, max_process_sessions), "N",
	  "of these, owned by one process (256)" },
	{ "max-user-mappings", KEY_DAEMON, false, read_number, 1, 1u << 30,
	  IN(options, max_user_mappings), "N",
	  "mappings of guest memory of one user (3/4 of all)" },
	{ "max-process-mappings", KEY_DAEMON, false, read_number, 1, 1u << 30,
	  IN(options, max_process_mappings), "N",
	  "and of one process (4096)" },
	{ "takeover", KEY_DAEMON, true, read_flag, 0, 0,
	  IN(options, takeover), NULL, "serve /dev/vhost-net itself" },

	{ "macs", KEY_NET, false, read_number, 16, NETWORK_MACS_MAX,
	  IN(option_net, macs), "N", "addresses that can be known (4096)" },
	{ "age", KEY_NET, false, read_number, 1, 1000000,
	  IN(option_net, age_s), "SECONDS",
	  "an address not seen so long is forgotten (300)" },
	{ "mtu", KEY_NET, false, read_number, MTU_MIN, MTU_MAX,
	  IN(option_net, mtu), "N", "most bytes behind a frame's Ethernet header (1500)" },

	{ "worker-process", KEY_NET, true, read_flag, 0, 0,
	  IN(option_net, worker_process), NULL,
	  "the network is in a process of its own" },

	/* Before those of KEY_SWPORT: the mtu of a socket is that of its port. */
	{ "queues", KEY_SOCKET, false, read_number, 1, VU_QUEUE_PAIRS_MAX,
	  IN(option_sock, queues), "N", "queue pairs (1)" },
	{ "client", KEY_SOCKET, true, read_flag, 0, 0,
	  IN(option_sock, client), NULL, "connect instead of listening" },
	{ "mtu", KEY_SOCKET, false, read_number, MTU_MIN, MTU_MAX,
	  IN(option_sock, mtu), "N", "that the guest is told, and has to keep" },
	{ "mac", KEY_SOCKET, false, read_mac, 0, 0,
	  IN(option_sock, mac), "MAC", "that the guest is told" },
	{ "postcopy", KEY_SOCKET, true, read_flag, 0, 0,
	  IN(option_sock, postcopy), NULL,
	  "gives its VMM all memory of the process" },

	{ "worker-process", KEY_SOCKET, true, read_choice, 0, 0,
	  IN(option_sock, worker_process), NULL,
	  "a connection is served by a process of its own" },

	{ "features", KEY_DEVICE, false, read_features, 0, 0,
	  IN(option_dev, features), "+F+F...",
	  "offer packed, in_order: for VMMs that know them" },
	{ "worker-process", KEY_DEVICE, true, read_choice, 0, 0,
	  IN(option_dev, worker_process), NULL,
	  "a guest's rings run in a process of their own (on)" },

	{ "net", KEY_END, false, read_name, 0, NETWORK_NAME_MAX,
	  IN(option_end, net), "NET", "be a port of this network" },
	{ "port", KEY_END, false, read_text, 0, OPTIONS_PORT_MAX,
	  IN(option_end, port), "KIND[:ARG]", "or have this port alone" },

	{ "name", KEY_SWPORT, false, read_name, 0, NETWORK_NAME_MAX,
	  IN(option_end, name), "NAME", "of the port, for counters" },
	{ "vlan", KEY_SWPORT, false, read_number, 1, VLAN_MAX,
	  IN(option_end, vlan), "V", "its VLAN (1); of a trunk: the untagged one" },
	{ "trunk", KEY_SWPORT, false, read_vlans, 0, 0,
	  IN(option_end, trunk), "V+V-V...", "carry these VLANs tagged" },
	{ "macs", KEY_SWPORT, false, read_number, 0, NETWORK_MACS_MAX,
	  IN(option_end, macs), "N", "addresses learnt behind it, 0 any number (0)" },
	{ "flood", KEY_SWPORT, false, read_number, 0, 1000000000,
	  IN(option_end, flood_fps), "FPS",
	  "frames a second it may flood, 0 any number (0)" },
	{ "mtu", KEY_SWPORT, false, read_number, MTU_MIN, MTU_MAX,
	  IN(option_end, mtu), "N", "if it is not the network's" },
	{ "offloads", KEY_SWPORT, false, read_offloads, 0, 0,
	  IN(option_end, offloads), "LIST",
	  "csum+tso4+tso6+ecn+ufo+uso4+uso6, all or none" },

	{ "capture", KEY_CAPTURE, false, read_text, 0, OPTIONS_FILE_MAX,
	  IN(option_capture, file), "FILE", "record its frames, pcapng; - is stdout" },
	{ "capture-snaplen", KEY_CAPTURE, false, read_number, 14, NETPORT_FRAME_MAX,
	  IN(option_capture, snaplen), "BYTES", "keep so much of a frame (all)" },
	{ "capture-vnet-hdr", KEY_CAPTURE, true, read_flag, 0, 0,
	  IN(option_capture, vnet_hdr), NULL, "record struct virtio_net_hdr too" },
	{ "capture-file-size", KEY_CAPTURE, false, read_size, 4096, UINT64_C(1) << 50,
	  IN(option_capture, file_bytes), "BYTES",
	  "then start FILE.1, FILE.2, ...; with k, M or G" },
	{ "capture-files", KEY_CAPTURE, false, read_number, 1, 1000000,
	  IN(option_capture, files), "N", "keep so many of them (all)" },
};
/* clang-format on */

const unsigned int nkeys = ARRAY_SIZE(keys);
_Static_assert(ARRAY_SIZE(keys) <= 64, "struct item.seen has a bit for each");

const struct key *key_find(const char *name, unsigned int owners)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (owners & 1u << keys[i].owner &&
		    strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

int key_read(const struct key *key, const char *label, const char *text,
	     void *base, struct error_line *c)
{
	if (!text && !key->flag)
		return complain(c, "%s: needs a value: expected %s=%s", label,
				key->name, key->arg);
	return key->read(key, label, text, (char *)base + key->field, c);
}

void keys_list(unsigned int owners, char *to, size_t size)
{
	size_t len = 0;

	to[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(keys) && len < size; i++) {
		/* Of two rows with the same name the first one counts. */
		if (key_find(keys[i].name, owners) != &keys[i])
			continue;
		len += (size_t)snprintf(to + len, size - len, "%s%s",
					len ? ", " : "", keys[i].name);
	}
}

void keys_print(FILE *out, unsigned int owners, int indent, const char *prefix)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const struct key *k = &keys[i];
		char text[64];

		if (key_find(k->name, owners) != k)
			continue;
		snprintf(text, sizeof(text), "%s%s%s%s", prefix, k->name,
			 !k->arg   ? ""
			 : *prefix ? " "
				   : "=",
			 k->arg ? k->arg : "");
		fprintf(out, "%*s%-*s %s\n", indent, "", 29 - indent, text,
			k->help);
	}
}
