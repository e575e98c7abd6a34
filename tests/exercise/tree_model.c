/* The model of the tree exerciser; see tree_model.h. Rules of rename in the kernel's order. */
#include "tree_model.h"

#include "exercise.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHARED 3        /* directories that all processes use */
#define FIXED (SHARED + 1)
#define ENTRIES 80      /* names at a time */
#define NAMES 7         /* in each directory */
#define DEPTH_MAX 12

struct inode {
	mode_t type;            /* 0: free */
	nlink_t links;
	uint64_t tag;
};

/* Entries 0 to SHARED - 1 are the shared directories, SHARED is the process's own root. */
struct entry {
	int inode;              /* -1: free */
	struct place place;     /* of fixed ones: parent -1 */
};

struct tree_model {
	char dir[PATH_MAX];
	unsigned process;
	struct entry entries[FIXED + ENTRIES];
	struct inode inodes[FIXED + ENTRIES];
};

/* ---- content ---- */

size_t content_make(uint64_t tag, char content_out[static CONTENT_MAX])
{
	size_t size = 20 + tag / 7 % (tag % 3 ? 200 : CONTENT_MAX - 40);

	for (size_t at = 0; at < size; at += 16) {
		char piece[17];

		snprintf(piece, sizeof(piece), "%016" PRIx64, tag);
		memcpy(content_out + at, piece, size - at < 16 ? size - at : 16);
	}
	return size;
}

bool content_read(const char *path, uint64_t *tag_out)
{
	char found[CONTENT_MAX + 1], wanted[CONTENT_MAX], digits[17] = "";
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
	ssize_t count;

	if (fd < 0)
		return false;
	count = read(fd, found, sizeof(found));
	close(fd);
	if (count < 20)
		return false;
	memcpy(digits, found, 16);
	*tag_out = strtoull(digits, NULL, 16);
	return content_make(*tag_out, wanted) == (size_t)count && memcmp(found, wanted, (size_t)count) == 0;
}

void link_target_make(uint64_t tag, char target_out[static LINK_MAX_SIZE])
{
	snprintf(target_out, LINK_MAX_SIZE, "to/%" PRIx64, tag);
}

/* ---- places ---- */

void tree_make(const char *dir, unsigned processes)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < SHARED; i++) {
		snprintf(path, sizeof(path), "%s/shared%u", dir, i);
		if (mkdir(path, 0755))
			die("mkdir %s", path);
	}
	for (unsigned i = 0; i < processes; i++) {
		snprintf(path, sizeof(path), "%s/own%u", dir, i);
		if (mkdir(path, 0755))
			die("mkdir %s", path);
	}
}

struct tree_model *model_new(const char *dir, unsigned process)
{
	struct tree_model *model = calloc(1, sizeof(*model));

	if (!model)
		die("out of memory");
	snprintf(model->dir, sizeof(model->dir), "%s", dir);
	model->process = process;
	for (int i = 0; i < FIXED + ENTRIES; i++)
		model->entries[i] = (struct entry){.inode = i < FIXED ? i : -1, .place = {.parent = -1}};
	for (int i = 0; i < FIXED; i++)
		model->inodes[i] = (struct inode){.type = S_IFDIR, .links = 1};
	return model;
}

void model_free(struct tree_model *model)
{
	free(model);
}

static struct inode *inode_of(struct tree_model *model, int entry)
{
	return entry < 0 ? NULL : &model->inodes[model->entries[entry].inode];
}

static mode_t type_of(const struct tree_model *model, int entry)
{
	return entry < 0 ? 0 : model->inodes[model->entries[entry].inode].type;
}

/* The entry at a place, or -1. */
static int entry_at(const struct tree_model *model, struct place place)
{
	for (int i = FIXED; i < FIXED + ENTRIES; i++) {
		const struct entry *entry = &model->entries[i];

		if (entry->inode >= 0 && entry->place.parent == place.parent && entry->place.name == place.name)
			return i;
	}
	return -1;
}

static bool is_empty(const struct tree_model *model, int directory)
{
	for (int i = FIXED; i < FIXED + ENTRIES; i++)
		if (model->entries[i].inode >= 0 && model->entries[i].place.parent == directory)
			return false;
	return true;
}

/* Is @below the directory @above, or in it at any depth? */
static bool is_below(const struct tree_model *model, int below, int above)
{
	for (; below >= 0; below = model->entries[below].place.parent)
		if (below == above)
			return true;
	return false;
}

static int depth_of(const struct tree_model *model, int entry)
{
	int depth = 0;

	for (; entry >= 0; entry = model->entries[entry].place.parent)
		depth++;
	return depth;
}

struct place model_some_place(const struct tree_model *model, uint64_t *random)
{
	int first = (int)random_below(random, FIXED + ENTRIES);

	for (int n = 0; n < FIXED + ENTRIES && random_below(random, 40); n++) {
		int i = (first + n) % (FIXED + ENTRIES);
		const struct entry *entry = &model->entries[i];

		if (entry->inode < 0)
			continue;
		if (i >= FIXED && random_below(random, 2))
			return entry->place;
		if (type_of(model, i) == S_IFDIR && depth_of(model, i) < DEPTH_MAX)
			return (struct place){.parent = i, .name = (unsigned)random_below(random, NAMES)};
	}
	return (struct place){.parent = (int)random_below(random, FIXED), .name = (unsigned)random_below(random, NAMES)};
}

/* The path of an entry, from the working directory of all on. */
static size_t entry_path(const struct tree_model *model, int entry, char *path, size_t size);

static size_t place_path(const struct tree_model *model, struct place place, char *path, size_t size)
{
	size_t length = entry_path(model, place.parent, path, size);

	return length + (size_t)snprintf(path + length, size - length, "/%c%u", 'A' + (int)model->process, place.name);
}

static size_t entry_path(const struct tree_model *model, int entry, char *path, size_t size)
{
	if (entry < SHARED)
		return (size_t)snprintf(path, size, "shared%d", entry);
	if (entry == SHARED)
		return (size_t)snprintf(path, size, "own%u", model->process);
	return place_path(model, model->entries[entry].place, path, size);
}

void model_path(const struct tree_model *model, struct place place, char *path_out, size_t size)
{
	size_t length = (size_t)snprintf(path_out, size, "%s/", model->dir);

	place_path(model, place, path_out + length, size - length);
}

/* ---- what calls do ---- */

bool model_is_full(const struct tree_model *model)
{
	for (int i = FIXED; i < FIXED + ENTRIES; i++)
		if (model->entries[i].inode < 0)
			return false;
	return true;
}

static void entry_new(struct tree_model *model, struct place place, int inode)
{
	for (int i = FIXED; i < FIXED + ENTRIES; i++) {
		if (model->entries[i].inode >= 0)
			continue;
		model->entries[i] = (struct entry){.inode = inode, .place = place};
		return;
	}
	die("the model is full");
}

static int make(struct tree_model *model, struct place place, mode_t type, uint64_t tag)
{
	int i = FIXED;

	if (entry_at(model, place) >= 0)
		return EEXIST;
	while (model->inodes[i].type)
		i++;
	model->inodes[i] = (struct inode){.type = type, .links = 1, .tag = tag};
	entry_new(model, place, i);
	return 0;
}

static void drop(struct tree_model *model, int entry)
{
	struct inode *inode = inode_of(model, entry);

	if (--inode->links == 0)
		inode->type = 0;
	model->entries[entry].inode = -1;
}

int model_create(struct tree_model *model, struct place place, uint64_t tag)
{
	return make(model, place, S_IFREG, tag);
}

int model_rewrite(struct tree_model *model, struct place place, uint64_t tag)
{
	struct inode *inode = inode_of(model, entry_at(model, place));

	if (!inode)
		return ENOENT;
	if (inode->type != S_IFREG)
		return inode->type == S_IFDIR ? EISDIR : ELOOP;
	inode->tag = tag;
	return 0;
}

int model_mkdir(struct tree_model *model, struct place place)
{
	return make(model, place, S_IFDIR, 0);
}

int model_rmdir(struct tree_model *model, struct place place)
{
	int entry = entry_at(model, place);

	if (entry < 0)
		return ENOENT;
	if (type_of(model, entry) != S_IFDIR)
		return ENOTDIR;
	if (!is_empty(model, entry))
		return ENOTEMPTY;
	drop(model, entry);
	return 0;
}

int model_unlink(struct tree_model *model, struct place place)
{
	int entry = entry_at(model, place);

	if (entry < 0)
		return ENOENT;
	if (type_of(model, entry) == S_IFDIR)
		return EISDIR;
	drop(model, entry);
	return 0;
}

int model_symlink(struct tree_model *model, struct place place, uint64_t tag)
{
	return make(model, place, S_IFLNK, tag);
}

int model_link(struct tree_model *model, struct place from, struct place to)
{
	int entry = entry_at(model, from);

	if (entry < 0)
		return ENOENT;
	if (entry_at(model, to) >= 0)
		return EEXIST;
	if (type_of(model, entry) == S_IFDIR)
		return EPERM;
	inode_of(model, entry)->links++;
	entry_new(model, to, model->entries[entry].inode);
	return 0;
}

static int exchange(struct tree_model *model, int one, int two)
{
	struct place place = model->entries[one].place;

	if (type_of(model, two) == S_IFDIR && is_below(model, model->entries[one].place.parent, two))
		return EINVAL;
	/* Two names of one file stay as they are; nobody could tell. */
	model->entries[one].place = model->entries[two].place;
	model->entries[two].place = place;
	return 0;
}

int model_rename(struct tree_model *model, struct place from, struct place to, unsigned flags)
{
	int old = entry_at(model, from), new = entry_at(model, to);
	bool directory = type_of(model, old) == S_IFDIR;

	if (old < 0)
		return ENOENT;
	if (flags == RENAME_NOREPLACE && new >= 0)
		return EEXIST;
	if (flags == RENAME_EXCHANGE && new < 0)
		return ENOENT;
	if (directory && is_below(model, to.parent, old))
		return EINVAL;
	if (flags == RENAME_EXCHANGE)
		return exchange(model, old, new);
	if (new >= 0 && is_below(model, from.parent, new))
		return ENOTEMPTY;
	if (new >= 0 && model->entries[old].inode == model->entries[new].inode)
		return 0;
	if (new >= 0 && directory && type_of(model, new) != S_IFDIR)
		return ENOTDIR;
	if (new >= 0 && !directory && type_of(model, new) == S_IFDIR)
		return EISDIR;
	if (new >= 0 && directory && !is_empty(model, new))
		return ENOTEMPTY;
	if (new >= 0)
		drop(model, new);
	model->entries[old].place = to;
	return 0;
}

int model_stat(const struct tree_model *model, struct place place, mode_t *type_out, nlink_t *links_out)
{
	int entry = entry_at(model, place);

	*type_out = type_of(model, entry);
	*links_out = 0;
	if (entry < 0)
		return ENOENT;
	*links_out = model->inodes[model->entries[entry].inode].links;
	return 0;
}

/* ---- the whole in text ---- */

static void describe_one(FILE *text, const char *path, mode_t type, nlink_t links, uint64_t tag)
{
	if (type == S_IFDIR)
		fprintf(text, "%s/\n", path);
	else if (type == S_IFLNK)
		fprintf(text, "%s -> to/%" PRIx64 " %ju\n", path, tag, (uintmax_t)links);
	else
		fprintf(text, "%s %" PRIx64 " %ju\n", path, tag, (uintmax_t)links);
}

static int by_text(const void *one, const void *two)
{
	return strcmp(*(char *const *)one, *(char *const *)two);
}

/* The lines of @text in order; frees it. */
static char *sort_lines(char *text, size_t size)
{
	size_t count = 0, at = 0;
	char *sorted = malloc(size + 1), **lines = malloc((size + 1) * sizeof(*lines)), *save = NULL;

	if (!sorted || !lines)
		die("out of memory");
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		lines[count++] = line;
	qsort(lines, count, sizeof(*lines), by_text);
	for (size_t i = 0; i < count; i++)
		at += (size_t)sprintf(sorted + at, "%s\n", lines[i]);
	sorted[at] = '\0';
	free(lines);
	free(text);
	return sorted;
}

static FILE *text_open(char **text, size_t *size)
{
	FILE *stream = open_memstream(text, size);

	if (!stream)
		die("out of memory");
	return stream;
}

char *model_describe(const struct tree_model *model)
{
	char *text, path[PATH_MAX];
	size_t size;
	FILE *stream = text_open(&text, &size);

	for (int i = FIXED; i < FIXED + ENTRIES; i++) {
		const struct inode *inode = &model->inodes[model->entries[i].inode < 0 ? 0 : model->entries[i].inode];

		if (model->entries[i].inode < 0)
			continue;
		entry_path(model, i, path, sizeof(path));
		describe_one(stream, path, inode->type, inode->links, inode->tag);
	}
	fclose(stream);
	return sort_lines(text, size);
}

/*
 * What is at a path, and below it, of the process's: the path is @path, of which the tree's
 * root takes @root bytes, and has PATH_MAX bytes of room.
 */
static void describe_path(FILE *stream, char *path, size_t root, unsigned process);

/* The names in a directory that are the process's; one listed twice is there twice. */
static void describe_directory(FILE *stream, char *path, size_t root, unsigned process)
{
	size_t length = strlen(path);
	const struct dirent *entry;
	DIR *names = opendir(path);

	if (!names)
		die("%s can't be listed", path);
	while ((entry = readdir(names))) {
		if (entry->d_name[0] != 'A' + (int)process)
			continue;
		snprintf(path + length, PATH_MAX - length, "/%s", entry->d_name);
		describe_path(stream, path, root, process);
		path[length] = '\0';
	}
	closedir(names);
}

static void describe_path(FILE *stream, char *path, size_t root, unsigned process)
{
	char target[LINK_MAX_SIZE] = "";
	struct stat found;
	uint64_t tag = 0;

	if (lstat(path, &found))
		die("%s was listed and is not there", path);
	if (S_ISREG(found.st_mode) && !content_read(path, &tag))
		die("%s holds what nobody wrote", path);
	if (S_ISLNK(found.st_mode)) {
		if (readlink(path, target, sizeof(target) - 1) < 0)
			die("readlink %s", path);
		tag = strtoull(target + 3, NULL, 16);
	}
	describe_one(stream, path + root, found.st_mode & S_IFMT, found.st_nlink, tag);
	if (S_ISDIR(found.st_mode))
		describe_directory(stream, path, root, process);
}

char *tree_describe(const char *dir, unsigned process)
{
	char *text, path[PATH_MAX];
	size_t size, root = strlen(dir) + 1;
	FILE *stream = text_open(&text, &size);

	for (unsigned i = 0; i < SHARED; i++) {
		snprintf(path, sizeof(path), "%s/shared%u", dir, i);
		describe_directory(stream, path, root, process);
	}
	snprintf(path, sizeof(path), "%s/own%u", dir, process);
	describe_directory(stream, path, root, process);
	fclose(stream);
	return sort_lines(text, size);
}
