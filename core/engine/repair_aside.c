#include "repair_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io.h"
#include "layer_file.h"

#define COPY_BYTES (1u << 20)
#define ASIDE_NEW_NAME "aside.new"
#define ASIDE_MAX 1000u
#define NAME_BYTES_MAX 64u

void repair_done(struct repair *repair, const char *format, ...)
{
	char text[300];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	repair->hooks->done(repair->hooks->context, text);
}

/* Sectors that can't be read are zeros in the copy. */
static int copy_bytes(int from_fd, int to_fd)
{
	uint8_t *buffer = malloc(COPY_BYTES);
	uint64_t size;
	int err = buffer ? io_size(from_fd, &size) : -ENOMEM;

	for (uint64_t at = 0; !err && at < size; at += COPY_BYTES) {
		size_t here = size - at < COPY_BYTES ? (size_t)(size - at) : COPY_BYTES;

		io_read_salvage(from_fd, buffer, here, at, NULL, NULL);
		err = io_write(to_fd, buffer, here, at);
	}
	free(buffer);
	return err;
}

/* A name in STORE/damaged that nothing has yet. */
static int free_name(const struct repair *repair, const char *name, char out[NAME_BYTES_MAX])
{
	for (unsigned i = 1; i <= ASIDE_MAX; i++) {
		int fd, err;

		snprintf(out, NAME_BYTES_MAX, "%s.%u", name, i);
		err = io_open(repair->damaged_fd, out, O_RDONLY, 0, &fd);
		io_close(fd);
		if (err == -ENOENT)
			return 0;
		if (err)
			return err;
	}
	return -EMFILE;
}

int repair_set_aside(struct repair *repair, int dir_fd, const char *name)
{
	char aside[NAME_BYTES_MAX];
	int from = -1, to = -1;
	int err = io_open(dir_fd, name, O_RDONLY, 0, &from);

	if (err == -ENOENT)
		return 0;
	if (!err)
		err = free_name(repair, name, aside);
	if (!err)
		err = io_open(repair->damaged_fd, ASIDE_NEW_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600, &to);
	if (!err)
		err = copy_bytes(from, to);
	if (!err)
		err = io_sync(to);              /* the bytes before the name */
	io_close(from);
	io_close(to);
	if (!err)
		err = io_publish(repair->damaged_fd, ASIDE_NEW_NAME, aside);
	if (!err)
		repair_done(repair, "'%s' was copied to '" DAMAGED_NAME "/%s'", name, aside);
	return err;
}

/* The file of @layer_id was set aside and goes once the manifest is written. */
static int will_go(struct repair *repair, uint64_t layer_id)
{
	uint64_t *ids = realloc(repair->replaced, (repair->replaced_count + (size_t)1) * sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	repair->replaced = ids;
	ids[repair->replaced_count++] = layer_id;
	return 0;
}

/* What is left of a layer that is lost is kept for people. */
int repair_lose_file(struct repair *repair, uint64_t layer_id)
{
	char name[LAYER_NAME_BYTES];
	int err;

	layer_name(layer_id, name);
	err = repair_set_aside(repair, repair->layers_fd, name);
	return err ? err : will_go(repair, layer_id);
}

void repair_remove_replaced(struct repair *repair)
{
	char name[LAYER_NAME_BYTES];

	for (uint32_t i = 0; i < repair->replaced_count; i++) {
		layer_name(repair->replaced[i], name);
		(void)io_unlink(repair->layers_fd, name);
	}
}
