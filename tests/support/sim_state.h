/*
 * Sim state: what lies on a simulated disk at one moment. Directories, files,
 * their bytes by pages that many states share, and the writes that lead from one
 * state to another.
 *
 * An inode's number is its place in the state and is never given out again; 0 is
 * the root directory. Pages never change once made; a page of zeros is NULL.
 */
#ifndef VARVE_TESTS_SIM_STATE_H
#define VARVE_TESTS_SIM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_PAGE_BYTES 4096u
#define SIM_SECTOR_BYTES 512u           /* what a power cut leaves whole */
#define SIM_SECTORS_PER_PAGE (SIM_PAGE_BYTES / SIM_SECTOR_BYTES)
#define SIM_NAME_MAX 40u

struct sim_page {
	_Atomic uint32_t refs;
	uint64_t hash;
	uint8_t bytes[SIM_PAGE_BYTES];
};

struct sim_page *sim_page_new(const uint8_t bytes[SIM_PAGE_BYTES]);     /* NULL if all zeros */
struct sim_page *sim_page_ref(struct sim_page *page);
void sim_page_unref(struct sim_page *page);
const uint8_t *sim_page_bytes(const struct sim_page *page);

struct sim_entry {
	char name[SIM_NAME_MAX];
	uint32_t inode;
};

struct sim_inode {
	bool is_dir;
	uint64_t size_bytes;
	struct sim_page **pages;
	uint32_t page_count;            /* as many as there is room for, not all of the size */
	struct sim_entry *entries;      /* of a directory */
	uint32_t entry_count;
};

struct sim_state {
	struct sim_inode *inodes;
	uint32_t inode_count;
};

/* One thing that a disk does as a whole or, between its sectors, torn. */
enum sim_write_kind {
	SIM_WRITE_DATA,                 /* sectors of a file */
	SIM_WRITE_SIZE,                 /* a file's size; a smaller one drops what lies beyond */
	SIM_WRITE_NAME,                 /* of a directory: a name is set, or goes, or moves */
};

struct sim_write {
	enum sim_write_kind kind;
	uint32_t inode;
	/* data: pages, and which sectors of each */
	struct sim_write_page {
		struct sim_page *page;
		uint32_t number;
		uint8_t sectors;        /* a bit each */
	} *pages;
	uint32_t page_count;
	uint64_t size_bytes;            /* size */
	/* names: @unset goes and @set leads to @target; either may be "" */
	char unset[SIM_NAME_MAX], set[SIM_NAME_MAX];
	uint32_t target;
};

void sim_write_destroy(struct sim_write *write);
uint32_t sim_write_sector_count(const struct sim_write *write);

struct sim_state *sim_state_new(void);          /* an empty root directory */
struct sim_state *sim_state_copy(const struct sim_state *from);
void sim_state_free(struct sim_state *state);
/* The number of a new inode that no name leads to. */
uint32_t sim_state_add(struct sim_state *state, bool is_dir);
/* The inode a name leads to; -1: none. */
int64_t sim_state_find(const struct sim_state *state, uint32_t dir, const char *name);

/* Apply @write, of data only those sectors, counted over the write, for which
 * @keep says so (NULL: all). Inodes it speaks of are there. */
typedef bool sim_keep_fn(void *context, uint32_t sector);
void sim_state_apply(struct sim_state *state, const struct sim_write *write, sim_keep_fn *keep,
		     void *context);
/* Drop what lies beyond the size of each file: nobody can read it. */
void sim_state_trim(struct sim_state *state);
/* One number over all that can be reached from the root. */
uint64_t sim_state_hash(const struct sim_state *state);

#endif
