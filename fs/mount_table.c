#include "mount_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The kernel writes blank, tab, newline, '#' and backslash as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

static void field_copy(char *out, size_t size_bytes, char *field)
{
	unescape(field);
	snprintf(out, size_bytes, "%s", field);
}

/*
 * 36 35 98:0 /root /mount/point rw,noatime master:1 - fuse.varve /store rw
 * The optional fields before the dash vary in number.
 */
static bool entry_parse(char *line, struct mount_entry *entry_out)
{
	char *save, *field = strtok_r(line, " \n", &save);

	for (unsigned i = 0; field && i < 5; i++) {
		if (i == 2 && sscanf(field, "%u:%u", &entry_out->major, &entry_out->minor) != 2)
			return false;
		if (i == 4)
			field_copy(entry_out->mountpoint, sizeof(entry_out->mountpoint), field);
		field = strtok_r(NULL, " \n", &save);
	}
	while (field && strcmp(field, "-") != 0)
		field = strtok_r(NULL, " \n", &save);
	field = field ? strtok_r(NULL, " \n", &save) : NULL;
	if (!field)
		return false;
	field_copy(entry_out->type, sizeof(entry_out->type), field);
	field = strtok_r(NULL, " \n", &save);
	if (!field)
		return false;
	field_copy(entry_out->source, sizeof(entry_out->source), field);
	return true;
}

typedef bool entry_fn(const void *wanted, const struct mount_entry *entry);

/* The last entry that @fits: later lines lie on top of earlier ones. */
static int find_last(entry_fn *fits, const void *wanted, struct mount_entry *entry_out)
{
	FILE *table = fopen("/proc/self/mountinfo", "re");
	struct mount_entry entry;
	char *line = NULL;
	size_t room = 0;
	int err = -ENOENT;

	if (!table)
		return -errno;
	while (getline(&line, &room, table) > 0) {
		if (entry_parse(line, &entry) && fits(wanted, &entry)) {
			*entry_out = entry;
			err = 0;
		}
	}
	if (ferror(table))
		err = -EIO;
	free(line);
	fclose(table);
	return err;
}

static bool is_at(const void *mountpoint, const struct mount_entry *entry)
{
	return strcmp(entry->mountpoint, mountpoint) == 0;
}

int mount_table_find(const char *mountpoint, struct mount_entry *entry_out)
{
	return find_last(is_at, mountpoint, entry_out);
}

struct other {
	unsigned major, minor;
	const char *but;
};

static bool is_other(const void *wanted, const struct mount_entry *entry)
{
	const struct other *other = wanted;

	return entry->major == other->major && entry->minor == other->minor &&
	       strcmp(entry->mountpoint, other->but) != 0;
}

int mount_table_find_other(unsigned major, unsigned minor, const char *but,
			   struct mount_entry *entry_out)
{
	const struct other other = {major, minor, but};

	return find_last(is_other, &other, entry_out);
}

int mount_table_find_above(const char *path, struct mount_entry *entry_out)
{
	char above[PATH_MAX];
	int err;

	if (snprintf(above, sizeof(above), "%s", path) >= (int)sizeof(above))
		return -ENAMETOOLONG;
	for (;;) {
		char *slash;

		err = mount_table_find(above, entry_out);
		if (err != -ENOENT || strcmp(above, "/") == 0)
			return err;
		slash = strrchr(above, '/');
		if (!slash)
			return -ENOENT;
		slash[slash == above ? 1 : 0] = '\0';
	}
}
