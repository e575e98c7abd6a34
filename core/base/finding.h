/*
 * Finding: one thing that a check of a store found wrong, where, and which LSNs
 * it harms.
 *
 * Checks hand findings out one by one, as they meet them: nothing is gathered, so
 * a store that is all damage takes no more memory than a sound one.
 */
#ifndef VARVE_BASE_FINDING_H
#define VARVE_BASE_FINDING_H

#include <stdbool.h>
#include <stdint.h>

#include "key.h"
#include "lsn.h"

/* The numbers are on disk (FORMAT.md, damaged/known). */
enum finding_kind {
	FINDING_MANIFEST,       /* the manifest itself */
	FINDING_FILE,           /* a file that is missing, not named, of the wrong size, or can't be read */
	FINDING_HEADER,         /* of a layer */
	FINDING_LOG,            /* heads of batches, or the end of an open layer */
	FINDING_VERSION,        /* the bytes of one version */
	FINDING_INDEX,          /* index or footer of a sealed layer */
	FINDING_TREE,           /* what names and attributes say of each other */
	FINDING_KIND_COUNT,
};

#define FINDING_OPEN_END UINT64_MAX     /* of @until: as far as the history goes */

struct finding {
	enum finding_kind kind;
	char file[48];                  /* within the store; "": of none in particular */
	uint64_t layer_id;              /* 0: none */
	uint64_t offset, size_bytes;    /* what is damaged of the file; both 0: not known */
	struct key key;                 /* ino 0: of no one key */
	/* The LSNs n at which it shows: from <= n < until. Both 0: nothing that can be read
	 * is harmed. At all others what is named here reads as ever. */
	struct lsn from, until;
	char path[256];                 /* of the file in the tree, as /a/b; "": not known */
	bool known;                     /* a repair has noted it before: no error any more */
	char text[200];                 /* what is wrong, in words */
};

/* "manifest", "file", ...: for programs. */
const char *finding_kind_name(enum finding_kind kind);

/* What a check tells its caller while it runs, on the caller's thread. */
struct check_hooks {
	void (*found)(void *context, const struct finding *finding);
	/* @bytes more are read. False: stop, with -ECANCELED. May be NULL. */
	bool (*progress)(void *context, uint64_t bytes);
	void *context;
};

/* Fill @finding's text and hand it out. */
void check_found(const struct check_hooks *hooks, struct finding *finding, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* 0 or -ECANCELED. */
int check_progress(const struct check_hooks *hooks, uint64_t bytes);

#endif
