/*
 * Known: what a repair could not mend and has set aside, so that a later check does not
 * call it an error again.
 *
 * STORE/damaged/known, replaced as a whole; FORMAT.md has its bytes. It is an
 * account, nothing more: what is damaged is told by its checksum wherever it is
 * read, so a store without this file reads the same, and a check of it tells all
 * anew. One caller at a time.
 */
#ifndef VARVE_STORE_KNOWN_H
#define VARVE_STORE_KNOWN_H

#include <stdbool.h>

#include "finding.h"

struct known;

/* What the store at @dir_fd knows of. A file that is missing or damaged knows of nothing.
 * 0; -ENOMEM. */
int known_load(int dir_fd, struct known **known_out);
void known_free(struct known *known);                   /* NULL is ignored */

/* Is it this layer, place and kind? NULL knows of nothing. */
bool known_has(const struct known *known, const struct finding *finding);
/* -ENOMEM. */
int known_add(struct known *known, const struct finding *finding);
/* Write it, durable. -errno: the file before stands. */
int known_save(const struct known *known, int dir_fd);

#endif
