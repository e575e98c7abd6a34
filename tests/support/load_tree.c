#include "load_tree.h"

#include "checksum.h"

/* The plain tree's own memory does not run out when the core's is made to. */
static void *own_alloc(size_t size_bytes)
{
	void *memory;

	sim_disk_busy += 1;
	memory = calloc(1, size_bytes);
	sim_disk_busy -= 1;
	require(memory);
	return memory;
}

struct load_content *load_content_new(const void *bytes, size_t size_bytes)
{
	struct load_content *content = own_alloc(sizeof(*content) + size_bytes + 1);

	content->refs = 1;
	content->size_bytes = size_bytes;
	content->digest = checksum(bytes, size_bytes, 0);
	memcpy(content->bytes, bytes, size_bytes);
	content->bytes[size_bytes] = '\0';
	return content;
}

static void content_unref(struct load_content *content)
{
	if (content && --content->refs == 0)
		free(content);
}

struct load_tree *load_tree_new(void)
{
	struct load_tree *tree = own_alloc(sizeof(*tree));

	memset(tree->names, -1, sizeof(tree->names));
	return tree;
}

struct load_tree *load_tree_copy(const struct load_tree *from)
{
	struct load_tree *tree = own_alloc(sizeof(*tree));

	*tree = *from;
	for (unsigned i = 0; i < LOAD_NODES; i++)
		if (tree->nodes[i].used && tree->nodes[i].content)
			tree->nodes[i].content->refs++;
	return tree;
}

void load_tree_free(struct load_tree *tree)
{
	if (!tree)
		return;
	for (unsigned i = 0; i < LOAD_NODES; i++)
		if (tree->nodes[i].used)
			content_unref(tree->nodes[i].content);
	free(tree);
}

static struct load_node *dir_node(const struct load_tree *tree, unsigned dir)
{
	for (unsigned i = 0; i < LOAD_NODES; i++)
		if (dir && tree->nodes[i].used && tree->nodes[i].dir == dir)
			return (struct load_node *)(uintptr_t)&tree->nodes[i];
	return NULL;
}

uint64_t load_dir_ino(const struct load_tree *tree, unsigned dir)
{
	return dir ? dir_node(tree, dir)->attr.ino : TREE_ROOT_INO;
}

bool load_dir_is_empty(const struct load_tree *tree, unsigned dir)
{
	for (unsigned i = 0; i < LOAD_NAMES; i++)
		if (tree->names[dir][i] >= 0)
			return false;
	return true;
}

unsigned load_dir_free(const struct load_tree *tree)
{
	for (unsigned dir = 1; dir < LOAD_DIRS; dir++)
		if (!dir_node(tree, dir))
			return dir;
	return 0;
}

void load_tree_add(struct load_tree *tree, unsigned dir, unsigned name, const struct tree_attr *attr,
		   unsigned new_dir, struct load_content *content)
{
	unsigned i = 0;

	/* There are as many nodes as names. */
	while (tree->nodes[i].used)
		i++;
	tree->nodes[i] = (struct load_node){ true, new_dir, *attr, content, 0 };
	tree->names[dir][name] = (int)i;
}

void load_tree_remove(struct load_tree *tree, unsigned dir, unsigned name)
{
	int number = tree->names[dir][name];

	tree->names[dir][name] = -1;
	for (unsigned i = 0; i < LOAD_DIRS * LOAD_NAMES; i++)
		if (tree->names[i / LOAD_NAMES][i % LOAD_NAMES] == number)
			return;
	content_unref(tree->nodes[number].content);
	tree->nodes[number].used = false;
}

void load_tree_resize(struct load_node *node, size_t size_bytes)
{
	struct load_content *before = node->content;
	size_t kept = before->size_bytes < size_bytes ? before->size_bytes : size_bytes;
	uint8_t *bytes = own_alloc(size_bytes + 1);

	memcpy(bytes, before->bytes, kept);
	node->content = load_content_new(bytes, size_bytes);
	content_unref(before);
	free(bytes);
}

void load_tree_write(struct load_node *node, size_t offset, const uint8_t *bytes, size_t size_bytes)
{
	size_t end = offset + size_bytes;

	/* This makes a content of the node's own. */
	load_tree_resize(node, end > node->content->size_bytes ? end : node->content->size_bytes);
	memcpy(node->content->bytes + offset, bytes, size_bytes);
	node->content->digest = checksum(node->content->bytes, node->content->size_bytes, 0);
}

void load_tree_zero(struct load_node *node, size_t offset, size_t size_bytes)
{
	load_tree_resize(node, node->content->size_bytes);
	memset(node->content->bytes + offset, 0, size_bytes);
	node->content->digest = checksum(node->content->bytes, node->content->size_bytes, 0);
}

/* ---- digests ---- */

/* What is told of one inode, whichever tree it is in. */
static uint64_t digest_inode(uint64_t digest, const struct tree_attr *attr, uint64_t content, uint64_t xattr)
{
	uint64_t told[] = {
		attr->ino, attr->size_bytes, attr->mode, attr->nlink,
		(uint64_t)attr->mtime.seconds, attr->mtime.nanoseconds,
		(uint64_t)attr->ctime.seconds, attr->ctime.nanoseconds, attr->page_count, content, xattr,
	};

	return checksum(told, sizeof(told), digest);
}

static uint64_t digest_dir(const struct load_tree *tree, unsigned dir, uint64_t digest)
{
	for (unsigned name = 0; name < LOAD_NAMES; name++) {
		const struct load_node *node;

		if (tree->names[dir][name] < 0)
			continue;
		node = &tree->nodes[tree->names[dir][name]];
		digest = digest_inode(digest + 'a' + name, &node->attr,
				      node->content ? node->content->digest : 0, node->xattr);
		if (node->dir)
			digest = digest_dir(tree, node->dir, digest);
	}
	return checksum(&dir, 0, digest);
}

uint64_t load_tree_digest(const struct load_tree *tree)
{
	return digest_dir(tree, 0, digest_inode(0, &tree->root, 0, 0));
}

static bool note_name(void *context, const struct tree_entry *entry)
{
	bool *there = context;
	unsigned name = (unsigned char)entry->name[0] - 'a';

	if (entry->name[0] == '.')
		return true;
	/* A name that no test gives would be one that was never there. */
	require(name < LOAD_NAMES && !entry->name[1] && !there[name]);
	there[name] = true;
	return true;
}

/* Where the data lies that the file's page map tells, there are as many pages as its attributes say. */
static int count_pages(struct store *store, const struct tree_attr *attr, struct lsn at)
{
	uint64_t hole = 0, data, pages = 0;
	int err = 0;

	while (!err && hole < attr->size_bytes) {
		err = tree_seek(store, attr->ino, at, hole, false, &data);
		if (!err)
			err = tree_seek(store, attr->ino, at, data, true, &hole);
		if (!err)
			pages += (hole + LOAD_PAGE_BYTES - 1) / LOAD_PAGE_BYTES - data / LOAD_PAGE_BYTES;
	}
	if (err && err != -ENXIO)
		return err;
	return pages == attr->page_count ? 0 : -EUCLEAN;
}

static int content_digest(struct store *store, const struct tree_attr *attr, struct lsn at,
			  uint64_t *digest_out)
{
	char target[PATH_MAX] = "";
	uint8_t *bytes;
	size_t count;
	int err;

	if (S_ISLNK(attr->mode)) {
		err = tree_readlink(store, attr->ino, at, target, sizeof(target));
		*digest_out = checksum(target, strlen(target), 0);
		return err;
	}
	bytes = own_alloc(attr->size_bytes + 1);
	err = tree_read(store, attr->ino, at, 0, bytes, attr->size_bytes, &count);
	if (!err && count != attr->size_bytes)
		err = -EUCLEAN;
	*digest_out = err ? 0 : checksum(bytes, count, 0);
	free(bytes);
	return err ? err : count_pages(store, attr, at);
}

static int xattr_digest(struct store *store, const struct tree_attr *attr, struct lsn at, uint64_t *digest_out)
{
	uint8_t value[LOAD_XATTR_MAX];
	size_t size;
	int err = tree_getxattr(store, attr->ino, at, LOAD_XATTR_NAME, value, sizeof(value), &size);

	*digest_out = err ? 0 : checksum(value, size, 0);
	return err == -ENODATA ? 0 : err;
}

static int store_digest_dir(struct store *store, uint64_t dir, struct lsn at, uint64_t *digest)
{
	bool there[LOAD_NAMES] = { false };
	int err = tree_readdir(store, dir, at, 0, note_name, there);

	for (unsigned name = 0; name < LOAD_NAMES && !err; name++) {
		char text[2] = { (char)('a' + name), '\0' };
		struct tree_attr attr;
		uint64_t content = 0, xattr = 0;

		if (!there[name])
			continue;
		err = tree_lookup(store, dir, text, at, &attr);
		if (!err && !S_ISDIR(attr.mode))
			err = content_digest(store, &attr, at, &content);
		if (!err)
			err = xattr_digest(store, &attr, at, &xattr);
		if (err)
			return err;
		*digest = digest_inode(*digest + 'a' + name, &attr, content, xattr);
		if (S_ISDIR(attr.mode))
			err = store_digest_dir(store, attr.ino, at, digest);
	}
	*digest = checksum(&err, 0, *digest);
	return err;
}

int load_store_digest(struct store *store, struct lsn at, uint64_t *digest_out)
{
	struct tree_attr root;
	int err = tree_getattr(store, TREE_ROOT_INO, at, &root);

	*digest_out = 0;
	if (!err) {
		*digest_out = digest_inode(0, &root, 0, 0);
		err = store_digest_dir(store, TREE_ROOT_INO, at, digest_out);
	}
	return err;
}
