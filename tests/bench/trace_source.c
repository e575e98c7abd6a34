#include "trace_source.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAGIC "VARVETRC"
#define MAGIC_BYTES 8u

enum {
	OP_WRITE = 1,
	OP_SYNC = 2,
};

static bool is_packed(const char *path)
{
	size_t length = strlen(path);

	return length > 3 && strcmp(path + length - 3, ".xz") == 0;
}

/* What xz makes of @fd. -1 and errno if it can't be started. */
static int xz_start(int fd, pid_t *pid_out)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	*pid_out = fork();
	if (*pid_out == 0) {
		dup2(fd, STDIN_FILENO);
		dup2(ends[1], STDOUT_FILENO);
		execlp("xz", "xz", "-dc", (char *)NULL);
		fprintf(stderr, "varve-bench: xz: %s\n", strerror(errno));
		_exit(127);
	}
	close(ends[1]);
	if (*pid_out < 0) {
		close(ends[0]);
		return -1;
	}
	return ends[0];
}

/* Ends xz too, which may not be done: that is no error then. */
static void trace_close(struct trace_source *source)
{
	if (source->file)
		fclose(source->file);
	if (source->reader > 0)
		waitpid(source->reader, NULL, 0);
	source->file = NULL;
	source->reader = 0;
}

static int trace_open(struct trace_source *source)
{
	int fd = open(source->path, O_RDONLY | O_CLOEXEC), packed = -1;

	if (fd < 0)
		return -errno;
	if (is_packed(source->path)) {
		packed = fd;
		fd = xz_start(packed, &source->reader);
		close(packed);
	}
	source->file = fd < 0 ? NULL : fdopen(fd, "rb");
	return source->file ? 0 : -errno;
}

static int trace_rewind(struct history_source *base)
{
	struct trace_source *source = (struct trace_source *)base;
	char magic[MAGIC_BYTES];
	int err;

	trace_close(source);
	err = trace_open(source);
	if (err)
		return err;
	return fread(magic, sizeof(magic), 1, source->file) == 1 && memcmp(magic, MAGIC, sizeof(magic)) == 0
		? 0 : -EUCLEAN;
}

static int write_next(struct trace_source *source, struct history_op *op_out)
{
	uint8_t head[13];
	uint64_t offset;
	uint32_t size;

	if (fread(head, sizeof(head), 1, source->file) != 1)
		return -EUCLEAN;
	memcpy(&size, head + 1, sizeof(size));
	memcpy(&offset, head + 5, sizeof(offset));
	*op_out = (struct history_op){
		.place = { head[0], le64toh(offset) },
		.bytes = source->bytes,
		.size_bytes = le32toh(size),
	};
	if (head[0] >= HISTORY_FILES_MAX || !op_out->size_bytes || op_out->size_bytes > HISTORY_WRITE_MAX
	    || op_out->place.offset_bytes >> 40
	    || fread(source->bytes, op_out->size_bytes, 1, source->file) != 1)
		return -EUCLEAN;
	return 0;
}

static int trace_next(struct history_source *base, struct history_op *op_out)
{
	struct trace_source *source = (struct trace_source *)base;
	int kind = fgetc(source->file);

	if (kind == EOF)
		return ferror(source->file) ? -EIO : 1;
	if (kind == OP_WRITE)
		return write_next(source, op_out);
	*op_out = (struct history_op){ .is_sync = true };
	return kind == OP_SYNC ? 0 : -EUCLEAN;
}

/* A page of any file, each as likely. */
static struct history_question trace_ask(struct history_source *base, struct dice *dice, uint64_t number,
					 uint64_t written)
{
	struct trace_source *source = (struct trace_source *)base;
	uint64_t pages[HISTORY_FILES_MAX], total = 0, page;
	uint32_t file = 0;

	(void)number;
	for (uint32_t i = 0; i < HISTORY_FILES_MAX; i++) {
		pages[i] = (source->written_bytes[i] + HISTORY_PAGE_BYTES - 1) / HISTORY_PAGE_BYTES;
		total += pages[i];
	}
	page = dice_below(dice, total);
	while (page >= pages[file])
		page -= pages[file++];
	return (struct history_question){
		.place = { file, page * HISTORY_PAGE_BYTES },
		.write_number = 1 + dice_below(dice, written),
	};
}

static int trace_survey(struct trace_source *source)
{
	struct history_op op;
	int err = trace_rewind(&source->source);

	while (!err) {
		err = trace_next(&source->source, &op);
		if (err)
			break;
		if (op.is_sync) {
			source->sync_count++;
			continue;
		}
		source->write_count++;
		source->write_bytes += op.size_bytes;
		if (op.place.offset_bytes + op.size_bytes > source->written_bytes[op.place.file])
			source->written_bytes[op.place.file] = op.place.offset_bytes + op.size_bytes;
	}
	trace_close(source);
	return err < 0 ? err : source->write_count && source->sync_count ? 0 : -EUCLEAN;
}

int trace_source_init(struct trace_source *source, const char *path)
{
	*source = (struct trace_source){
		.source = { trace_rewind, trace_next, trace_ask, HISTORY_PAGE_BYTES },
		.path = path,
		.bytes = malloc(HISTORY_WRITE_MAX),
	};
	return source->bytes ? trace_survey(source) : -ENOMEM;
}

void trace_source_destroy(struct trace_source *source)
{
	trace_close(source);
	free(source->bytes);
}
