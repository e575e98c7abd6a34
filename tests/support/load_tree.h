/*
 * Load tree: the plain tree of a power load (power_load.h). Each call is one change
 * that the store has made; the caller knows that it was possible.
 */
#ifndef VARVE_TESTS_LOAD_TREE_H
#define VARVE_TESTS_LOAD_TREE_H

#include "power_load.h"

struct load_content *load_content_new(const void *bytes, size_t size_bytes);

struct load_tree *load_tree_new(void);
struct load_tree *load_tree_copy(const struct load_tree *from);
void load_tree_free(struct load_tree *tree);
uint64_t load_tree_digest(const struct load_tree *tree);

/* Inode number of a directory, by its number. */
uint64_t load_dir_ino(const struct load_tree *tree, unsigned dir);
bool load_dir_is_empty(const struct load_tree *tree, unsigned dir);
/* A directory number that is free; 0: none. */
unsigned load_dir_free(const struct load_tree *tree);

/* A new node under a name. @content is taken over. */
void load_tree_add(struct load_tree *tree, unsigned dir, unsigned name, const struct tree_attr *attr,
		   unsigned new_dir, struct load_content *content);
void load_tree_remove(struct load_tree *tree, unsigned dir, unsigned name);
/* Content of a file: @size_bytes of @bytes at @offset (zeros between), or a new size. */
void load_tree_write(struct load_node *node, size_t offset, const uint8_t *bytes,
		     size_t size_bytes);
void load_tree_zero(struct load_node *node, size_t offset, size_t size_bytes);    /* lies within it */
void load_tree_resize(struct load_node *node, size_t size_bytes);

#endif
