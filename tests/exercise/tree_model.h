/*
 * What one process of the tree exerciser knows of its part of the tree, and what it must
 * be told of each call. One thread.
 *
 * A place is a directory and a name in it. The directories are those that the process made,
 * its own root, and the shared ones, which are always there. A model_* call that changes
 * something says what the system call has to say, 0 or an errno, and has changed the model
 * if that is 0.
 */
#ifndef TREE_MODEL_H
#define TREE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define CONTENT_MAX 9000
#define LINK_MAX_SIZE 64

struct tree_model;

struct place {
	int parent;             /* an entry that is a directory */
	unsigned name;
};

/* Make what all processes need below @dir: the shared directories and a root for each. */
void tree_make(const char *dir, unsigned processes);

struct tree_model *model_new(const char *dir, unsigned process);
void model_free(struct tree_model *model);

/* A random place; in half of the cases something is there, if anything is anywhere. */
struct place model_some_place(const struct tree_model *model, uint64_t *random);
void model_path(const struct tree_model *model, struct place place, char *path_out, size_t size);

/* Is there no room for one more name? Nothing may be made then. */
bool model_is_full(const struct tree_model *model);

int model_create(struct tree_model *model, struct place place, uint64_t tag);
int model_rewrite(struct tree_model *model, struct place place, uint64_t tag);
int model_mkdir(struct tree_model *model, struct place place);
int model_rmdir(struct tree_model *model, struct place place);
int model_unlink(struct tree_model *model, struct place place);
int model_symlink(struct tree_model *model, struct place place, uint64_t tag);
int model_link(struct tree_model *model, struct place from, struct place to);
int model_rename(struct tree_model *model, struct place from, struct place to, unsigned flags);
/* What lstat finds; *type_out is 0 if nothing. */
int model_stat(const struct tree_model *model, struct place place, mode_t *type_out, nlink_t *links_out);

/* The process's part of the tree in text, a line for each name, sorted: by the model, and as
 * it is below @dir on disk. To be freed. tree_describe() ends the process if what a file
 * holds is nothing that content_make() made. */
char *model_describe(const struct tree_model *model);
char *tree_describe(const char *dir, unsigned process);

/* The content of a file by its tag, which is not 0; its size. */
size_t content_make(uint64_t tag, char content_out[static CONTENT_MAX]);
/* The tag of a file, if it holds what the tag says and nothing else. */
bool content_read(const char *path, uint64_t *tag_out);
void link_target_make(uint64_t tag, char target_out[static LINK_MAX_SIZE]);

#endif
