#include "recent_pages.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "key.h"

struct recent_page {
	pthread_mutex_t lock;           /* guards the rest, and the page's bytes */
	uint64_t ino, block;
	struct lsn lsn;                 /* 0: nothing here */
	uint8_t *page;                  /* made when the place is first taken */
};

struct recent_pages {
	uint32_t page_bytes;
	uint64_t slot_count;
	struct recent_page slots[];
};

int recent_pages_create(uint32_t page_bytes, uint64_t budget_bytes, struct recent_pages **pages_out)
{
	uint64_t slot_count = budget_bytes / page_bytes + 1;
	struct recent_pages *pages = calloc(1, sizeof(*pages) + slot_count * sizeof(pages->slots[0]));

	*pages_out = NULL;
	if (!pages)
		return -ENOMEM;
	pages->page_bytes = page_bytes;
	pages->slot_count = slot_count;
	for (uint64_t i = 0; i < slot_count; i++)
		pthread_mutex_init(&pages->slots[i].lock, NULL);
	*pages_out = pages;
	return 0;
}

void recent_pages_free(struct recent_pages *pages)
{
	if (!pages)
		return;
	for (uint64_t i = 0; i < pages->slot_count; i++) {
		pthread_mutex_destroy(&pages->slots[i].lock);
		free(pages->slots[i].page);
	}
	free(pages);
}

static struct recent_page *slot_of(struct recent_pages *pages, uint64_t ino, uint64_t block)
{
	return &pages->slots[key_hash(key_make(ino, KEY_PAGE, block)) % pages->slot_count];
}

bool recent_pages_get(struct recent_pages *pages, uint64_t ino, uint64_t block, struct lsn lsn,
		      uint8_t *page_out)
{
	struct recent_page *slot = slot_of(pages, ino, block);
	bool found;

	if (pthread_mutex_trylock(&slot->lock))
		return false;
	found = slot->lsn.value == lsn.value && slot->ino == ino && slot->block == block;
	if (found)
		memcpy(page_out, slot->page, pages->page_bytes);
	pthread_mutex_unlock(&slot->lock);
	return found;
}

void recent_pages_put(struct recent_pages *pages, uint64_t ino, uint64_t block, struct lsn lsn,
		      const uint8_t *page)
{
	struct recent_page *slot = slot_of(pages, ino, block);

	if (pthread_mutex_trylock(&slot->lock))
		return;
	if (!slot->page)
		slot->page = malloc(pages->page_bytes);
	if (slot->page) {
		slot->ino = ino;
		slot->block = block;
		slot->lsn = lsn;
		memcpy(slot->page, page, pages->page_bytes);
	}
	pthread_mutex_unlock(&slot->lock);
}
