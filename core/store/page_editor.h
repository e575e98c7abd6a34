/*
 * Page editor: turns ranges of bytes into versions of a file's pages, each the
 * smallest that will do.
 *
 * A page is compared with the version before it when that is at hand (written
 * lately, or in memory), and then stored as the bytes that changed; not at all if
 * none did. Zeros take no bytes, and none are stored where nothing was. What is
 * stored is an image where that is smaller, where the chain of patches is at its
 * bound, and where the version before would have to be fetched.
 *
 * The file's page map follows; a file without one is mapped.
 *
 * It lives within one change, whose inode, a regular file, is locked.
 */
#ifndef VARVE_STORE_PAGE_EDITOR_H
#define VARVE_STORE_PAGE_EDITOR_H

#include "change.h"
#include "layer_map.h"
#include "page_map.h"

#define EDITOR_KEPT_MAX 2u
/* So few pages at once are dropped by tombstones: reads then need not ask the map. */
#define EDITOR_TOMBSTONES_MAX 32u

/* A page as the change leaves it, for recent_pages. */
struct edited_page {
	uint64_t block;
	const uint8_t *bytes;           /* the caller's, or owned by the editor */
};

struct page_editor {
	struct change *change;
	struct change_inode *inode;
	struct layer_guard guard;
	struct lsn newest;
	struct page_map map;
	bool streaming;                 /* so many pages at once that none is kept */
	uint8_t *before;                /* room for a page, NULL until needed */
	void **owned;                   /* payloads made here, until the commit */
	uint32_t owned_count, owned_room;
	struct edited_page kept[EDITOR_KEPT_MAX];
	uint32_t kept_count;
};

/* 0; -errno: nothing is held. */
int page_editor_begin(struct page_editor *editor, struct change *change,
		      struct change_inode *inode);

/* The version of @block before this change. 0; 1: there is none; -errno. */
int page_editor_find(struct page_editor *editor, uint64_t block, struct version *version_out);

/* The bytes at @offset_bytes become @bytes; NULL: zeros. Adds entries to the change;
 * @bytes is borrowed until it is committed. 0 or -errno. */
int page_editor_put(struct page_editor *editor, uint64_t offset_bytes, const uint8_t *bytes,
		    size_t size_bytes);

/* The blocks [@from, @to) hold no page any more; a few of them get a tombstone each, of more
 * the map alone says it. 0 or -errno. */
int page_editor_drop(struct page_editor *editor, uint64_t from, uint64_t to);

/* Nothing more is edited: the map goes into the change. To be called before it is committed. 0 or -errno. */
int page_editor_finish(struct page_editor *editor);

/* The change is committed. */
void page_editor_committed(struct page_editor *editor);

void page_editor_end(struct page_editor *editor);

#endif
