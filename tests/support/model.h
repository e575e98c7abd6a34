/*
 * Model: a tree in plain memory that keeps every version, to hold a store
 * against. It knows nothing of the store: whoever drives both tells it each
 * change with the LSN it took.
 *
 * Content is kept as a log of edits whose bytes are remembered by their seed
 * (test_support.h, seed_fill), with the whole content every so many edits.
 *
 * Reads take an LSN as the store's do. A deleted inode is there at LSN_HEAD,
 * and at no LSN from its deletion on.
 */
#ifndef VARVE_TESTS_MODEL_H
#define VARVE_TESTS_MODEL_H

#include "lsn.h"
#include "test_support.h"
#include "tree.h"

#define MODEL_NAME_COUNT 48u            /* names there are, in every directory */
#define MODEL_NAME_SIZE (TREE_NAME_MAX + 1)
#define MODEL_CHECKPOINT_EDITS 128u
#define MODEL_XATTR_COUNT 6u            /* names of extended attributes there are; the last is the capability */

struct model_edit {
	struct lsn lsn;
	enum model_edit_kind { MODEL_WRITE, MODEL_TRUNCATE, MODEL_PUNCH, MODEL_GROW, MODEL_BYTES } kind;
	uint64_t offset;                /* of a truncate: the new size */
	uint64_t seed;
	uint32_t size_bytes;
	uint8_t *bytes;                 /* of MODEL_BYTES, which no seed stands for; owned */
};

struct model_content {
	uint8_t *bytes;
	size_t size_bytes;
};

/* One value of an extended attribute, from an LSN on. */
struct model_xattr {
	struct lsn lsn;
	uint64_t seed;
	uint32_t size_bytes;
	bool there;
};

struct model_inode {
	uint64_t ino;
	uint32_t type;                  /* S_IFMT bits */
	struct tree_attr *attrs;        /* ascending by attr.changed */
	size_t attr_count, attr_capacity;
	struct model_edit *edits;
	size_t edit_count, edit_capacity;
	struct model_content *checkpoints;      /* i: the content after i * MODEL_CHECKPOINT_EDITS */
	size_t checkpoint_count, checkpoint_capacity;
	struct model_content content;   /* now */
	char *target;                   /* of a symlink */
	struct model_name *names;       /* of a directory: MODEL_NAME_COUNT of them */
	struct model_xattrs {
		struct model_xattr *values;     /* ascending by lsn */
		size_t count, capacity;
	} xattrs[MODEL_XATTR_COUNT];
};

struct model {
	struct model_inode **inodes;    /* every one there ever was; [0] is the root */
	size_t inode_count, inode_capacity;
	char names[MODEL_NAME_COUNT][MODEL_NAME_SIZE];
};

/* @root: attributes of the tree's root as they are at the start. */
struct model *model_new(const struct tree_attr *root);
void model_free(struct model *model);

struct model_inode *model_add(struct model *model, const struct tree_attr *attr);
struct model_inode *model_find(const struct model *model, uint64_t ino);        /* or NULL */

void model_attr_put(struct model_inode *inode, const struct tree_attr *attr);
/* NULL: no such inode at @at. */
const struct tree_attr *model_attr_at(const struct model_inode *inode, struct lsn at);
static inline const struct tree_attr *model_attr_last(const struct model_inode *inode)
{
	return &inode->attrs[inode->attr_count - 1];
}

void model_write(struct model_inode *inode, struct lsn lsn, uint64_t offset, uint64_t seed,
		 uint32_t size_bytes);
void model_truncate(struct model_inode *inode, struct lsn lsn, uint64_t size_bytes);
/* Zeros, as far as the file goes. */
void model_punch(struct model_inode *inode, struct lsn lsn, uint64_t offset, uint32_t size_bytes);
/* The file is at least so large. */
void model_grow(struct model_inode *inode, struct lsn lsn, uint64_t size_bytes);
/* A write of bytes that no seed stands for; they are copied. */
void model_bytes(struct model_inode *inode, struct lsn lsn, uint64_t offset, const uint8_t *bytes,
		 uint32_t size_bytes);
/* The content at @at; free the bytes. */
struct model_content model_content_at(const struct model_inode *inode, struct lsn at);

extern const char *const model_xattr_names[MODEL_XATTR_COUNT];
void model_xattr_put(struct model_inode *inode, unsigned name, struct model_xattr value);
/* NULL: it has no such attribute at @at. */
const struct model_xattr *model_xattr_at(const struct model_inode *inode, unsigned name, struct lsn at);

/* @inode NULL: the name is gone from @lsn on. */
void model_name_put(struct model_inode *dir, unsigned name, struct lsn lsn,
		    struct model_inode *inode);
/* NULL: no such name at @at. */
struct model_inode *model_name_at(const struct model_inode *dir, unsigned name, struct lsn at);

#endif
