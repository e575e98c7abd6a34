/*
 * Mount options: the list behind -o, as people write it in a shell and in /etc/fstab.
 *
 * Of two that contradict each other the later one holds. What only says when and by whom a line of
 * fstab is to be mounted (noauto, nofail, _netdev, user, x-..., comment=) is passed over, as mount(8)
 * hands it to every helper.
 */
#ifndef VARVE_TOOLS_MOUNT_OPTIONS_H
#define VARVE_TOOLS_MOUNT_OPTIONS_H

#include <argp.h>
#include <stdbool.h>

#include "store.h"
#include "view.h"

struct mount_options {
	bool read_only;
	bool remount;        /* change flags of what is mounted already */
	int allow_other;     /* -1: not said */
	struct store_options store;
	struct view_options view;
	char *fuse;          /* for libfuse and the kernel, separated by commas; NULL: none */
	unsigned long flags; /* MS_... that are on, of those that were named */
	unsigned long named;
};

void mount_options_init(struct mount_options *options);
void mount_options_free(struct mount_options *options);

/* Take @list, which is cut up. With @sloppy an option that is not known is passed over. What is wrong
 * ends the process by argp_error. */
void mount_options_parse(struct mount_options *options, char *list, bool sloppy,
			 struct argp_state *state);

#endif
