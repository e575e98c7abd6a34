/*
 * Serve: mount a store and answer for it until it is unmounted.
 *
 * Life: open the store, open the control socket, mount, answer requests on
 * several threads, and at the end close all three in the opposite order. The
 * end is an unmount from outside, or SIGTERM, SIGINT or SIGHUP, on which the
 * file system is unmounted here: while it is still answered for, so that the
 * kernel can write back the pages of mappings.
 */
#ifndef VARVE_FS_SERVE_H
#define VARVE_FS_SERVE_H

#include <stdbool.h>

#include "report.h"
#include "store.h"
#include "view.h"

struct serve_options {
	const char *store_path;
	const char *mountpoint;	  /* absolute, an empty directory */
	const char *fuse_options; /* for libfuse and the kernel, separated by commas; "" for none */
	bool allow_other;	  /* also other users may use the mount */
	bool foreground;	  /* log lines to stderr, else to syslog once mounted */
	struct store_options store;	/* the holder is filled in */
	struct view_options view;
	void (*mounted)(void *context); /* called once, when the mount has answered; any thread */
	void *context;
};

/*
 * Mount and answer; returns once all is closed again. Call it from a process
 * with one thread, which it blocks signals in.
 *
 * 0; -errno with a line in @report. What only shows at the end (a sync that
 * failed) is an error too.
 */
int serve(const struct serve_options *options, struct report *report);

#endif
