/*
 * Check: is a store whole? What is wrong with it, and what does that harm?
 *
 *   files   every checksum of every layer, its index against its log, layers against
 *           the manifest and one another (engine/engine_check.h)
 *   tree    at the newest LSN and at some of the past: each name leads to an inode
 *           of its type; links, sizes and parents agree; pages lie within their
 *           file; nothing is out of reach of the root
 *
 * Every fault is handed out as a finding (base/finding.h). Bytes from disk may be
 * anything. Memory: the buffers of one layer, 4 bytes an inode number, the names of the
 * largest directory.
 */
#ifndef VARVE_STORE_CHECK_H
#define VARVE_STORE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "finding.h"
#include "report.h"

struct store;

#define STORE_CHECK_SAMPLES_MAX 10000

struct store_check_options {
	bool repair;                    /* store_check only */
	bool keep_cache;                /* don't make the kernel read from the disk what it has in memory */
	unsigned sample_count;          /* LSNs of the past whose tree is walked, up to STORE_CHECK_SAMPLES_MAX; 0: 4 */
	unsigned name_hash_bits;        /* as store_options' */
	struct check_hooks hooks;
	/* Before anything is read: how many bytes there are. With hooks.context; may be NULL. */
	void (*begin)(void *context, uint64_t bytes);
	/* With repair: a step was taken, in words. As above. */
	void (*mended)(void *context, const char *text);
};

struct store_check_result {
	uint64_t finding_count;         /* those that are not known */
	uint64_t known_count;           /* what an earlier repair has set aside */
	uint64_t mended_count;          /* with repair: steps taken; the counts above are of after it */
	uint64_t layer_count, version_count;
	uint64_t state_count;           /* LSNs whose tree was walked; 0: the store does not open */
	uint64_t inode_count;           /* at the newest of them */
	struct lsn oldest, newest;
};

/*
 * Check the store at @path, which nobody has open; its lock is held meanwhile. Nothing is
 * changed unless @options say repair: then what is found is mended (engine/engine_repair.h),
 * and it is checked once more. 0: it ran, *result_out says how it went; -EBUSY:
 * it is in use, use store_check_running; -ENOENT, -ENOTDIR, -EMEDIUMTYPE,
 * -EPROTONOSUPPORT, -ECANCELED, -ENOMEM; else -errno: it could not be run. @report says more.
 */
int store_check(const char *path, const struct store_check_options *options,
		struct report *report, struct store_check_result *result_out);

/* Check an open store, while it goes on being read and written: what is looked at is what was
 * there at the call. 0 or -errno, as above. Any thread. */
int store_check_running(struct store *store, const struct store_check_options *options,
			struct store_check_result *result_out);

#endif
