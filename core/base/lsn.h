/*
 * LSN: a position in the history, in bytes, just after the batch it names.
 *
 * The difference of two LSNs is the history written between them. Wrapped in a
 * struct so that the compiler tells an LSN from a length or a file offset.
 */
#ifndef VARVE_BASE_LSN_H
#define VARVE_BASE_LSN_H

#include <stdbool.h>
#include <stdint.h>

struct lsn {
	uint64_t value;         /* never 0 once assigned */
};

/* LSNs stay below 2^62: views keep the two top bits of an inode number for themselves. */
#define LSN_LIMIT (UINT64_C(1) << 62)

/* As a read position: "the newest there is". Never assigned to a batch. */
#define LSN_HEAD ((struct lsn){ UINT64_MAX })

static inline struct lsn lsn_make(uint64_t value)
{
	return (struct lsn){ value };
}

static inline bool lsn_is_head(struct lsn lsn)
{
	return lsn.value == UINT64_MAX;
}

#endif
