/*
 * Unmapped: files that a varve without page maps wrote.
 *
 * Which of their pages there are is said by floors and tombstones (floors.h). They are
 * read by those, at any LSN, and mapped by the first change of their data, as part of it.
 */
#ifndef VARVE_STORE_UNMAPPED_H
#define VARVE_STORE_UNMAPPED_H

#include "page_map.h"

struct attr;

/*
 * Enter the pages of the file with attributes @attr, which is not mapped, into @map, begun
 * with them. Goes through the versions of the file once. 0; -errno.
 */
int unmapped_gather(const struct attr *attr, struct page_map *map);

#endif
