#include "mount_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "command.h"
#include "text.h"

/* Flags of the mount itself, which a remount can change. */
static const struct flag_option {
	const char *name;
	unsigned long flag;
	bool on;
	bool for_fuse; /* libfuse is told; else it is what holds anyway, or is told otherwise */
} flag_options[] = {
	{"ro", MS_RDONLY, true, false},
	{"rw", MS_RDONLY, false, false},
	{"nodev", MS_NODEV, true, true},
	{"dev", MS_NODEV, false, true},
	{"nosuid", MS_NOSUID, true, true},
	{"suid", MS_NOSUID, false, true},
	{"noexec", MS_NOEXEC, true, true},
	{"exec", MS_NOEXEC, false, true},
	{"noatime", MS_NOATIME, true, true},
	{"atime", MS_NOATIME, false, true},
	{0},
};

/* Handed on as they are. */
static const char *const fuse_values[] = {"fsname=",	 "max_read=",	"context=",    "fscontext=",
					  "defcontext=", "rootcontext=", NULL};

/* Of no meaning here: who may mount and when is mount(8)'s to see to; no read moves an atime,
 * whatever is asked for; and FUSE has no asynchronous writes to forbid. A name that ends in '=' or
 * '-' is a beginning. */
static const char *const passed_over[] = {
	"defaults", "auto",	   "noauto",	    "nofail",	   "_netdev",	 "user",
	"user=",    "nouser",	   "users",	    "owner",	   "group",	 "x-",
	"X-",	    "comment=",	   "uhelper=",	    "relatime",	   "norelatime", "strictatime",
	"diratime", "nodiratime",  "nostrictatime", "lazytime",	   "nolazytime", "async",
	"loud",	    "silent",	   NULL,
};

static bool is_listed(const char *option, const char *const *names)
{
	for (; *names; names++) {
		size_t length = strlen(*names);
		char last = (*names)[length - 1];

		if (last == '=' || last == '-' ? strncmp(option, *names, length) == 0
					       : strcmp(option, *names) == 0)
			return true;
	}
	return false;
}

static void fuse_add(struct mount_options *options, const char *option, struct argp_state *state)
{
	char *longer;

	if (asprintf(&longer, "%s%s%s", options->fuse ? options->fuse : "",
		     options->fuse ? "," : "", option) < 0)
		argp_failure(state, STATUS_FAILED, ENOMEM, "%s", option);
	free(options->fuse);
	options->fuse = longer;
}

static bool take_flag(struct mount_options *options, const char *option, struct argp_state *state)
{
	const struct flag_option *flag = flag_options;

	while (flag->name && strcmp(flag->name, option) != 0)
		flag++;
	if (!flag->name)
		return false;
	options->named |= flag->flag;
	options->flags = flag->on ? options->flags | flag->flag : options->flags & ~flag->flag;
	if (flag->for_fuse)
		fuse_add(options, option, state);
	return true;
}

/* The value of @option if it is NAME=VALUE; NULL if it is another. */
static const char *value_of(const char *option, const char *name)
{
	size_t length = strlen(name);

	return strncmp(option, name, length) == 0 && option[length] == '=' ? option + length + 1
									   : NULL;
}

static uint64_t size_value(const char *option, const char *value, struct argp_state *state)
{
	uint64_t size;

	if (!text_parse_size(value, &size) || size == 0)
		argp_error(state, "'%s': '%s' is no size; write it like 64M or 1G", option, value);
	return size;
}

static uint64_t age_value_ns(const char *option, const char *value, struct argp_state *state)
{
	uint64_t seconds;

	if (!text_parse_number(value, &seconds) || seconds == 0 ||
	    seconds > UINT64_MAX / UINT64_C(1000000000))
		argp_error(state, "'%s': '%s' is no number of seconds", option, value);
	return seconds * UINT64_C(1000000000);
}

static bool take_store_option(struct mount_options *options, const char *option,
			      struct argp_state *state)
{
	struct store_options *store = &options->store;
	const char *value;

	if ((value = value_of(option, "memory")))
		store->memory_bytes = size_value(option, value, state);
	else if ((value = value_of(option, "layer")))
		store->layer_size_bytes = size_value(option, value, state);
	else if ((value = value_of(option, "age")))
		store->freeze_age_ns = age_value_ns(option, value, state);
	else if ((value = value_of(option, "cache")))
		store->cache_size_bytes = size_value(option, value, state);
	else
		return false;
	return true;
}

static uint32_t id_value(const char *option, const char *value, struct argp_state *state)
{
	uint64_t id;

	/* All ones is no owner: chown(2) takes it for "as it is". */
	if (!text_parse_number(value, &id) || id >= UINT32_MAX)
		argp_error(state, "'%s': '%s' is no number of a user or group; `id` tells them",
			   option, value);
	return (uint32_t)id;
}

static uint32_t umask_value(const char *option, const char *value, struct argp_state *state)
{
	char *end;
	unsigned long mask = strtoul(value, &end, 8);

	if (value[0] < '0' || value[0] > '7' || *end || mask > 0777)
		argp_error(state, "'%s': '%s' is no umask; write it like 022", option, value);
	return (uint32_t)mask;
}

static struct lsn lsn_value(const char *option, const char *value, struct argp_state *state)
{
	uint64_t lsn;

	if (!text_parse_number(value, &lsn) || lsn == 0 || lsn >= LSN_LIMIT)
		argp_error(state, "'%s': '%s' is no LSN; lsn/latest in a mount, or `varve info`, "
				  "tells the newest",
			   option, value);
	return lsn_make(lsn);
}

static bool take_view_option(struct mount_options *options, const char *option,
			     struct argp_state *state)
{
	struct view_owner *owner = &options->view.owner;
	const char *value;

	if ((value = value_of(option, "uid"))) {
		owner->uid = id_value(option, value, state);
		owner->has_uid = true;
	} else if ((value = value_of(option, "gid"))) {
		owner->gid = id_value(option, value, state);
		owner->has_gid = true;
	} else if ((value = value_of(option, "umask"))) {
		owner->umask = umask_value(option, value, state);
		owner->has_umask = true;
	} else if ((value = value_of(option, "lsn"))) {
		options->view.at = lsn_value(option, value, state);
	} else {
		return false;
	}
	return true;
}

static void take(struct mount_options *options, const char *option, bool sloppy,
		 struct argp_state *state)
{
	const char *subtype = value_of(option, "subtype");

	if (strcmp(option, "allow_other") == 0)
		options->allow_other = true;
	else if (strcmp(option, "noallow_other") == 0)
		options->allow_other = false;
	else if (strcmp(option, "remount") == 0)
		options->remount = true;
	else if (subtype && strcmp(subtype, "varve") != 0)
		argp_error(state, "'%s': the subtype of a varve mount is varve; to tell mounts apart, "
				  "use fsname=",
			   option);
	else if (is_listed(option, fuse_values))
		fuse_add(options, option, state);
	else if (!subtype && !is_listed(option, passed_over) && !take_flag(options, option, state) &&
		 !take_store_option(options, option, state) &&
		 !take_view_option(options, option, state) && !sloppy)
		argp_error(state, "there is no mount option '%s'; `varve help mount` lists them",
			   option);
}

void mount_options_init(struct mount_options *options)
{
	*options = (struct mount_options){.allow_other = -1, .view.at = LSN_HEAD};
}

void mount_options_free(struct mount_options *options)
{
	free(options->fuse);
}

void mount_options_parse(struct mount_options *options, char *list, bool sloppy,
			 struct argp_state *state)
{
	char *save, *option;

	for (option = strtok_r(list, ",", &save); option; option = strtok_r(NULL, ",", &save))
		take(options, option, sloppy, state);
	/* mount(8) says rw unless it was told ro, so it contradicts nothing. */
	options->read_only = (options->flags & MS_RDONLY) || !lsn_is_head(options->view.at);
}
