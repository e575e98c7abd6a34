#include "sim_state.h"

#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "test_support.h"

static const uint8_t zeros[SIM_PAGE_BYTES];

static void *grown(void *array, size_t count, size_t size_bytes)
{
	array = realloc(array, count * size_bytes);
	require(array);
	return array;
}

struct sim_page *sim_page_new(const uint8_t bytes[SIM_PAGE_BYTES])
{
	struct sim_page *page;

	if (memcmp(bytes, zeros, SIM_PAGE_BYTES) == 0)
		return NULL;
	page = grown(NULL, 1, sizeof(*page));
	page->refs = 1;
	page->hash = checksum(bytes, SIM_PAGE_BYTES, 0);
	memcpy(page->bytes, bytes, SIM_PAGE_BYTES);
	return page;
}

struct sim_page *sim_page_ref(struct sim_page *page)
{
	if (page)
		page->refs++;
	return page;
}

void sim_page_unref(struct sim_page *page)
{
	if (page && --page->refs == 0)
		free(page);
}

const uint8_t *sim_page_bytes(const struct sim_page *page)
{
	return page ? page->bytes : zeros;
}

void sim_write_destroy(struct sim_write *write)
{
	for (uint32_t i = 0; i < write->page_count; i++)
		sim_page_unref(write->pages[i].page);
	free(write->pages);
}

uint32_t sim_write_sector_count(const struct sim_write *write)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < write->page_count; i++)
		count += (uint32_t)__builtin_popcount(write->pages[i].sectors);
	return count;
}

/* ---- states ---- */

uint32_t sim_state_add(struct sim_state *state, bool is_dir)
{
	state->inodes = grown(state->inodes, state->inode_count + 1, sizeof(*state->inodes));
	state->inodes[state->inode_count] = (struct sim_inode){ .is_dir = is_dir };
	return state->inode_count++;
}

struct sim_state *sim_state_new(void)
{
	struct sim_state *state = grown(NULL, 1, sizeof(*state));

	*state = (struct sim_state){ 0 };
	sim_state_add(state, true);
	return state;
}

static void *copied(const void *from, size_t count, size_t size_bytes)
{
	if (!count)
		return NULL;
	return memcpy(grown(NULL, count, size_bytes), from, count * size_bytes);
}

struct sim_state *sim_state_copy(const struct sim_state *from)
{
	struct sim_state *state = grown(NULL, 1, sizeof(*state));

	state->inode_count = from->inode_count;
	state->inodes = copied(from->inodes, from->inode_count, sizeof(*from->inodes));
	for (uint32_t i = 0; i < state->inode_count; i++) {
		struct sim_inode *inode = &state->inodes[i];

		inode->pages = copied(inode->pages, inode->page_count, sizeof(*inode->pages));
		inode->entries = copied(inode->entries, inode->entry_count,
					sizeof(*inode->entries));
		for (uint32_t j = 0; j < inode->page_count; j++)
			sim_page_ref(inode->pages[j]);
	}
	return state;
}

void sim_state_free(struct sim_state *state)
{
	if (!state)
		return;
	for (uint32_t i = 0; i < state->inode_count; i++) {
		struct sim_inode *inode = &state->inodes[i];

		for (uint32_t j = 0; j < inode->page_count; j++)
			sim_page_unref(inode->pages[j]);
		free(inode->pages);
		free(inode->entries);
	}
	free(state->inodes);
	free(state);
}

static int64_t entry_find(const struct sim_inode *dir, const char *name)
{
	for (uint32_t i = 0; i < dir->entry_count; i++)
		if (strcmp(dir->entries[i].name, name) == 0)
			return i;
	return -1;
}

int64_t sim_state_find(const struct sim_state *state, uint32_t dir, const char *name)
{
	int64_t at = entry_find(&state->inodes[dir], name);

	return at < 0 ? -1 : (int64_t)state->inodes[dir].entries[at].inode;
}

static void name_unset(struct sim_inode *dir, const char *name)
{
	int64_t at = entry_find(dir, name);

	if (at >= 0)
		dir->entries[at] = dir->entries[--dir->entry_count];
}

static void name_set(struct sim_inode *dir, const char *name, uint32_t target)
{
	struct sim_entry *entry;

	name_unset(dir, name);
	dir->entries = grown(dir->entries, dir->entry_count + 1, sizeof(*dir->entries));
	entry = &dir->entries[dir->entry_count++];
	snprintf(entry->name, sizeof(entry->name), "%s", name);
	entry->inode = target;
}

static void inode_put_page(struct sim_inode *inode, uint32_t number, struct sim_page *page)
{
	if (number >= inode->page_count) {
		inode->pages = grown(inode->pages, number + 1, sizeof(*inode->pages));
		memset(inode->pages + inode->page_count, 0,
		       (number + 1 - inode->page_count) * sizeof(*inode->pages));
		inode->page_count = number + 1;
	}
	sim_page_unref(inode->pages[number]);
	inode->pages[number] = page;
}

static void inode_drop_beyond(struct sim_inode *inode, uint64_t size_bytes)
{
	uint32_t whole = (uint32_t)(size_bytes / SIM_PAGE_BYTES);
	uint32_t rest = (uint32_t)(size_bytes % SIM_PAGE_BYTES);
	uint8_t bytes[SIM_PAGE_BYTES] = { 0 };

	if (rest && whole < inode->page_count && inode->pages[whole]) {
		memcpy(bytes, inode->pages[whole]->bytes, rest);
		inode_put_page(inode, whole, sim_page_new(bytes));
	}
	whole += rest != 0;
	while (inode->page_count > whole)
		sim_page_unref(inode->pages[--inode->page_count]);
}

static void apply_page(struct sim_inode *inode, const struct sim_write_page *from, uint8_t sectors)
{
	const struct sim_page *before =
		from->number < inode->page_count ? inode->pages[from->number] : NULL;
	uint8_t bytes[SIM_PAGE_BYTES];

	if (!sectors)
		return;
	if (sectors == 0xff) {
		inode_put_page(inode, from->number, sim_page_ref(from->page));
		return;
	}
	memcpy(bytes, sim_page_bytes(before), SIM_PAGE_BYTES);
	for (unsigned i = 0; i < SIM_SECTORS_PER_PAGE; i++)
		if (sectors >> i & 1)
			memcpy(bytes + i * SIM_SECTOR_BYTES,
			       sim_page_bytes(from->page) + i * SIM_SECTOR_BYTES, SIM_SECTOR_BYTES);
	inode_put_page(inode, from->number, sim_page_new(bytes));
}

static void apply_data(struct sim_inode *inode, const struct sim_write *write, sim_keep_fn *keep,
		       void *context)
{
	uint32_t sector = 0;

	for (uint32_t i = 0; i < write->page_count; i++) {
		uint8_t kept = 0;

		for (unsigned j = 0; j < SIM_SECTORS_PER_PAGE; j++)
			if (write->pages[i].sectors >> j & 1 && (!keep || keep(context, sector++)))
				kept |= (uint8_t)(1u << j);
		apply_page(inode, &write->pages[i], kept);
	}
}

void sim_state_apply(struct sim_state *state, const struct sim_write *write, sim_keep_fn *keep,
		     void *context)
{
	struct sim_inode *inode = &state->inodes[write->inode];

	switch (write->kind) {
	case SIM_WRITE_DATA:
		apply_data(inode, write, keep, context);
		break;
	case SIM_WRITE_SIZE:
		if (write->size_bytes < inode->size_bytes)
			inode_drop_beyond(inode, write->size_bytes);
		inode->size_bytes = write->size_bytes;
		break;
	case SIM_WRITE_NAME:
		if (write->unset[0])
			name_unset(inode, write->unset);
		if (write->set[0])
			name_set(inode, write->set, write->target);
		break;
	}
}

void sim_state_trim(struct sim_state *state)
{
	for (uint32_t i = 0; i < state->inode_count; i++)
		inode_drop_beyond(&state->inodes[i], state->inodes[i].size_bytes);
}

/* Names are summed, not chained: their order in a directory is of no account. */
static uint64_t inode_hash(const struct sim_state *state, uint32_t number)
{
	const struct sim_inode *inode = &state->inodes[number];
	uint64_t hash = checksum(&inode->size_bytes, sizeof(inode->size_bytes), inode->is_dir);
	uint64_t sum = 0;

	for (uint32_t i = 0; i < inode->page_count; i++)
		if (inode->pages[i])
			sum += checksum(&i, sizeof(i), inode->pages[i]->hash);
	for (uint32_t i = 0; i < inode->entry_count; i++)
		sum += checksum(inode->entries[i].name, strlen(inode->entries[i].name),
				inode_hash(state, inode->entries[i].inode));
	return checksum(&sum, sizeof(sum), hash);
}

uint64_t sim_state_hash(const struct sim_state *state)
{
	return inode_hash(state, 0);
}
