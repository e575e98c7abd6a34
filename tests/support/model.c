#include "model.h"

struct model_name {
	struct model_binding {
		struct lsn lsn;
		struct model_inode *inode;
	} *bindings;
	size_t count, capacity;
};

static void *grow(void *list, size_t count, size_t *capacity, size_t item_bytes)
{
	if (count < *capacity)
		return list;
	*capacity = *capacity ? *capacity * 2 : 4;
	list = realloc(list, *capacity * item_bytes);
	assert_non_null(list);
	return list;
}

/* Plain names, some of the longest that may be, some of one byte. */
static void names_init(struct model *model)
{
	for (unsigned i = 0; i < MODEL_NAME_COUNT; i++) {
		char *name = model->names[i];

		if (i % 8 == 7) {
			memset(name, 'l', TREE_NAME_MAX);
			name[TREE_NAME_MAX - 1] = '0' + i;
		} else {
			snprintf(name, MODEL_NAME_SIZE, i % 8 == 6 ? "%c" : "name-%u",
				 i % 8 == 6 ? 'A' + i / 8 : i);
		}
	}
}

struct model *model_new(const struct tree_attr *root)
{
	struct model *model = calloc(1, sizeof(*model));

	assert_non_null(model);
	names_init(model);
	model_add(model, root);
	return model;
}

static void inode_free(struct model_inode *inode)
{
	for (size_t i = 0; i < inode->checkpoint_count; i++)
		free(inode->checkpoints[i].bytes);
	for (unsigned i = 0; inode->names && i < MODEL_NAME_COUNT; i++)
		free(inode->names[i].bindings);
	for (size_t i = 0; i < inode->edit_count; i++)
		free(inode->edits[i].bytes);
	for (unsigned i = 0; i < MODEL_XATTR_COUNT; i++)
		free(inode->xattrs[i].values);
	free(inode->attrs);
	free(inode->edits);
	free(inode->checkpoints);
	free(inode->content.bytes);
	free(inode->target);
	free(inode->names);
	free(inode);
}

void model_free(struct model *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->inode_count; i++)
		inode_free(model->inodes[i]);
	free(model->inodes);
	free(model);
}

struct model_inode *model_add(struct model *model, const struct tree_attr *attr)
{
	struct model_inode *inode = calloc(1, sizeof(*inode));

	assert_non_null(inode);
	model->inodes = grow(model->inodes, model->inode_count, &model->inode_capacity,
			     sizeof(struct model_inode *));
	assert_true(!model->inode_count ||
		    attr->ino > model->inodes[model->inode_count - 1]->ino);
	model->inodes[model->inode_count++] = inode;
	inode->ino = attr->ino;
	inode->type = attr->mode & S_IFMT;
	if (S_ISDIR(attr->mode)) {
		inode->names = calloc(MODEL_NAME_COUNT, sizeof(*inode->names));
		assert_non_null(inode->names);
	}
	model_attr_put(inode, attr);
	return inode;
}

struct model_inode *model_find(const struct model *model, uint64_t ino)
{
	size_t low = 0, high = model->inode_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (model->inodes[middle]->ino == ino)
			return model->inodes[middle];
		if (model->inodes[middle]->ino < ino)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

void model_attr_put(struct model_inode *inode, const struct tree_attr *attr)
{
	inode->attrs = grow(inode->attrs, inode->attr_count, &inode->attr_capacity,
			    sizeof(*inode->attrs));
	inode->attrs[inode->attr_count++] = *attr;
}

const struct tree_attr *model_attr_at(const struct model_inode *inode, struct lsn at)
{
	size_t low = 0, high = inode->attr_count;

	/* low: how many versions are at or below @at */
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (inode->attrs[middle].changed.value <= at.value)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return NULL;
	const struct tree_attr *attr = &inode->attrs[low - 1];
	return attr->nlink || lsn_is_head(at) ? attr : NULL;
}

/* ---- content ---- */

static void content_resize(struct model_content *content, size_t size_bytes)
{
	if (size_bytes > content->size_bytes) {
		content->bytes = realloc(content->bytes, size_bytes);
		assert_non_null(content->bytes);
		memset(content->bytes + content->size_bytes, 0, size_bytes - content->size_bytes);
	}
	content->size_bytes = size_bytes;
}

static void content_edit(struct model_content *content, const struct model_edit *edit)
{
	uint64_t end = edit->offset + edit->size_bytes;

	if (edit->kind == MODEL_TRUNCATE || (edit->kind == MODEL_GROW && edit->offset > content->size_bytes))
		content_resize(content, edit->offset);
	if (edit->kind == MODEL_TRUNCATE || edit->kind == MODEL_GROW)
		return;
	if (edit->kind == MODEL_PUNCH) {
		end = end < content->size_bytes ? end : content->size_bytes;
		if (edit->offset < end)
			memset(content->bytes + edit->offset, 0, end - edit->offset);
		return;
	}
	if (end > content->size_bytes)
		content_resize(content, end);
	if (edit->kind == MODEL_WRITE)
		seed_fill(edit->seed, content->bytes + edit->offset, edit->size_bytes);
	else
		memcpy(content->bytes + edit->offset, edit->bytes, edit->size_bytes);
}

static struct model_content content_copy(const struct model_content *from)
{
	struct model_content copy = { malloc(from->size_bytes + 1), from->size_bytes };

	assert_non_null(copy.bytes);
	if (from->size_bytes)
		memcpy(copy.bytes, from->bytes, from->size_bytes);
	return copy;
}

static void content_change(struct model_inode *inode, struct model_edit edit)
{
	if (inode->edit_count % MODEL_CHECKPOINT_EDITS == 0) {
		inode->checkpoints = grow(inode->checkpoints, inode->checkpoint_count,
					  &inode->checkpoint_capacity,
					  sizeof(*inode->checkpoints));
		inode->checkpoints[inode->checkpoint_count++] = content_copy(&inode->content);
	}
	inode->edits = grow(inode->edits, inode->edit_count, &inode->edit_capacity,
			    sizeof(*inode->edits));
	inode->edits[inode->edit_count++] = edit;
	content_edit(&inode->content, &edit);
}

void model_write(struct model_inode *inode, struct lsn lsn, uint64_t offset, uint64_t seed,
		 uint32_t size_bytes)
{
	content_change(inode, (struct model_edit){ .lsn = lsn, .offset = offset, .seed = seed,
						   .size_bytes = size_bytes });
}

void model_truncate(struct model_inode *inode, struct lsn lsn, uint64_t size_bytes)
{
	content_change(inode, (struct model_edit){ .lsn = lsn, .offset = size_bytes,
						   .kind = MODEL_TRUNCATE });
}

void model_punch(struct model_inode *inode, struct lsn lsn, uint64_t offset, uint32_t size_bytes)
{
	content_change(inode, (struct model_edit){ .lsn = lsn, .offset = offset, .kind = MODEL_PUNCH,
						   .size_bytes = size_bytes });
}

void model_grow(struct model_inode *inode, struct lsn lsn, uint64_t size_bytes)
{
	content_change(inode, (struct model_edit){ .lsn = lsn, .offset = size_bytes,
						   .kind = MODEL_GROW });
}

void model_bytes(struct model_inode *inode, struct lsn lsn, uint64_t offset, const uint8_t *bytes,
		 uint32_t size_bytes)
{
	uint8_t *copy = malloc(size_bytes);

	assert_non_null(copy);
	memcpy(copy, bytes, size_bytes);
	content_change(inode, (struct model_edit){ .lsn = lsn, .offset = offset, .kind = MODEL_BYTES,
						   .size_bytes = size_bytes, .bytes = copy });
}

struct model_content model_content_at(const struct model_inode *inode, struct lsn at)
{
	struct model_content content = { NULL, 0 };
	size_t low = 0, high = inode->edit_count;

	/* low: how many edits are at or below @at */
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (inode->edits[middle].lsn.value <= at.value)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return content;
	size_t checkpoint = (low - 1) / MODEL_CHECKPOINT_EDITS;
	content = content_copy(&inode->checkpoints[checkpoint]);
	for (size_t i = checkpoint * MODEL_CHECKPOINT_EDITS; i < low; i++)
		content_edit(&content, &inode->edits[i]);
	return content;
}

/* ---- names ---- */

void model_name_put(struct model_inode *dir, unsigned name, struct lsn lsn,
		    struct model_inode *inode)
{
	struct model_name *slot = &dir->names[name];

	slot->bindings = grow(slot->bindings, slot->count, &slot->capacity,
			      sizeof(*slot->bindings));
	slot->bindings[slot->count++] = (struct model_binding){ lsn, inode };
}

struct model_inode *model_name_at(const struct model_inode *dir, unsigned name, struct lsn at)
{
	const struct model_name *slot = &dir->names[name];

	for (size_t i = slot->count; i > 0; i--) {
		if (slot->bindings[i - 1].lsn.value <= at.value)
			return slot->bindings[i - 1].inode;
	}
	return NULL;
}

/* ---- extended attributes ---- */

const char *const model_xattr_names[MODEL_XATTR_COUNT] = {
	"user.a", "user.b", "trusted.a", "security.a", "user.longer than the others", TREE_XATTR_CAPABILITY,
};

void model_xattr_put(struct model_inode *inode, unsigned name, struct model_xattr value)
{
	struct model_xattrs *xattrs = &inode->xattrs[name];

	xattrs->values = grow(xattrs->values, xattrs->count, &xattrs->capacity, sizeof(*xattrs->values));
	xattrs->values[xattrs->count++] = value;
}

const struct model_xattr *model_xattr_at(const struct model_inode *inode, unsigned name, struct lsn at)
{
	const struct model_xattrs *xattrs = &inode->xattrs[name];

	for (size_t i = xattrs->count; i > 0; i--)
		if (xattrs->values[i - 1].lsn.value <= at.value)
			return xattrs->values[i - 1].there ? &xattrs->values[i - 1] : NULL;
	return NULL;
}
