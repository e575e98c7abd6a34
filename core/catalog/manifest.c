#include "manifest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "checksum.h"
#include "io.h"
#include "manifest_internal.h"

#define MANIFEST_NEW_NAME "manifest.new"
#define MANIFEST_LIMIT_BYTES (UINT64_C(1) << 30)
/* Space is reserved in steps, so that sealing can be recorded on a full disk. */
#define RESERVE_STEP_BYTES 65536u
/* Rewrite when this many records say no more than a quarter as many would. */
#define REWRITE_RECORDS_MIN 4096u

uint64_t manifest_seed(const uint8_t id[16])
{
	return checksum(id, 16, 0);
}

static uint64_t rewrite_min = REWRITE_RECORDS_MIN;

void manifest_rewrite_from(uint64_t record_count)
{
	rewrite_min = record_count ? record_count : REWRITE_RECORDS_MIN;
}

void manifest_init(struct manifest *manifest, int dir_fd)
{
	memset(manifest, 0, sizeof(*manifest));
	manifest->dir_fd = dir_fd;
	manifest->fd = -1;
	manifest->format_version = MANIFEST_FORMAT_VERSION;
	manifest->rewrite_min = rewrite_min;
	manifest->id_next = 1;
}

void manifest_close(struct manifest *manifest)
{
	manifest_free_state(manifest);
	io_close(manifest->fd);
	manifest->fd = -1;
}

/* ---- reading ---- */

static int report_contradiction(struct report *report, const struct manifest *manifest)
{
	return report_set(report, -EUCLEAN,
			  "the file 'manifest' contradicts itself at byte %llu: "
			  "restore it from a backup of the store, or run 'varve check --repair'; "
			  "nothing was changed",
			  (unsigned long long)manifest->tail_bytes);
}

/* Apply the records from manifest->tail_bytes on, up to the first that is not whole. */
static int records_apply(struct manifest *manifest, const uint8_t *bytes, const uint8_t *end,
			 struct report *report)
{
	struct record_room room = { 0 };
	int err;

	for (;;) {
		struct record record;
		uint64_t chain;
		uint32_t size;

		err = record_decode(bytes + manifest->tail_bytes, end, manifest->chain, &room, &record, &size,
				    &chain);
		if (err)
			break;
		err = record_check(manifest, &record);
		if (err) {
			free(record.fresh);
			if (err == -EUCLEAN)
				report_contradiction(report, manifest);
			record_room_destroy(&room);
			return err;
		}
		record_apply(manifest, &record);
		manifest->chain = chain;
		manifest->tail_bytes += size;
		manifest->record_count += record_weight(&record);
	}
	record_room_destroy(&room);
	return err == -ENOMEM ? err : 0;
}

static bool all_zero(const uint8_t *at, const uint8_t *end)
{
	while (at < end && *at == 0)
		at++;
	return at == end;
}

static int records_read(struct manifest *manifest, const uint8_t *bytes, size_t size_bytes,
			struct report *report)
{
	const uint8_t *end = bytes + size_bytes;
	int err;

	manifest->tail_bytes = MANIFEST_HEADER_BYTES;
	err = records_apply(manifest, bytes, end, report);
	if (err)
		return err;
	if (!all_zero(bytes + manifest->tail_bytes, end)) {
		manifest->torn = true;
		if (!record_is_torn_end(bytes + manifest->tail_bytes, end))
			return report_set(report, -EUCLEAN,
					  "the file 'manifest' is damaged at byte %llu: restore it from a backup of "
					  "the store, or run 'varve check --repair'; nothing was changed",
					  (unsigned long long)manifest->tail_bytes);
	}
	return manifest_check_runs(manifest) ? report_contradiction(report, manifest) : 0;
}

int manifest_open(struct manifest *manifest, int dir_fd, bool writable, struct report *report)
{
	uint8_t *bytes = NULL;
	size_t size;
	int err;

	manifest_init(manifest, dir_fd);
	err = io_slurp(dir_fd, MANIFEST_NAME, MANIFEST_LIMIT_BYTES, &bytes, &size);
	if (err)
		return report_set(report, err, "can't read the file 'manifest': %s",
				  strerror(-err));
	err = header_decode(manifest, bytes, size, report);
	if (!err)
		err = records_read(manifest, bytes, size, report);
	if (!err && writable)
		err = io_open(dir_fd, MANIFEST_NAME, O_RDWR, 0, &manifest->fd);
	free(bytes);
	if (err)
		manifest_close(manifest);
	return err;
}

int manifest_salvage(struct manifest *manifest, int dir_fd)
{
	struct report report = { "" };
	uint8_t *bytes = NULL;
	size_t size;
	int err;

	manifest_init(manifest, dir_fd);
	err = io_slurp(dir_fd, MANIFEST_NAME, MANIFEST_LIMIT_BYTES, &bytes, &size);
	if (!err)
		err = header_decode(manifest, bytes, size, &report) ? -EUCLEAN : 0;
	if (!err && records_read(manifest, bytes, size, &report) == -ENOMEM)
		err = -ENOMEM;
	free(bytes);
	if (err)
		manifest_close(manifest);
	return err;
}

/* ---- writing it anew ---- */

/* A new file and what is written to it: records gather in a buffer. */
struct rewrite {
	const struct manifest *manifest;
	int fd, err;
	uint8_t *buffer;
	size_t filled;
	uint64_t at, chain, record_count;
};

static void rewrite_flush(struct rewrite *rewrite)
{
	if (!rewrite->err)
		rewrite->err = io_write(rewrite->fd, rewrite->buffer, rewrite->filled, rewrite->at);
	rewrite->at += rewrite->filled;
	rewrite->filled = 0;
}

static void rewrite_put(struct rewrite *rewrite, const struct record *record)
{
	uint32_t size = record_size(record);

	if (rewrite->filled + size > MANIFEST_RECORD_BYTES_MAX)
		rewrite_flush(rewrite);
	rewrite->chain = record_encode(record, rewrite->chain, rewrite->buffer + rewrite->filled);
	rewrite->filled += size;
	rewrite->record_count += record_weight(record);
}

static void rewrite_tables(struct rewrite *rewrite, const struct manifest_run *run)
{
	struct record record = { .type = RECORD_RUN, .run = *run };
	uint32_t done = 0;

	/* One at least: a run may have no table. */
	do {
		uint32_t left = run->layer_count - done;

		record.run.layer_first = run->layer_first + done;
		record.run.layer_count = left < MANIFEST_PIECE_LAYERS_MAX ? left : MANIFEST_PIECE_LAYERS_MAX;
		rewrite_put(rewrite, &record);
		done += record.run.layer_count;
	} while (done < run->layer_count);
	for (uint32_t i = 0; i < run->layer_count; i++)
		if (manifest_run_layers(run)[i].lost)
			rewrite_put(rewrite, &(struct record){ .type = RECORD_LOST,
							       .id = manifest_run_layers(run)[i].layer_id });
}

bool manifest_run_is_lost(const struct manifest_run *run)
{
	const struct table_summary *layers = manifest_run_layers(run);

	for (uint32_t i = 0; i < run->layer_count; i++)
		if (layers[i].lost)
			return true;
	return run->lost;
}

/* Sealed layers first, since one is sealed behind all runs there are. */
static void rewrite_runs(struct rewrite *rewrite)
{
	const struct manifest *manifest = rewrite->manifest;

	for (uint32_t i = 0; i < manifest->run_count; i++) {
		const struct manifest_run *run = &manifest->runs[i];

		if (run->level)
			continue;
		rewrite_put(rewrite, &(struct record){ .type = RECORD_LAYER_OPENED, .id = run->run_id });
		rewrite_put(rewrite, &(struct record){ .type = RECORD_LAYER_SEALED, .run = *run });
		if (run->lost)
			rewrite_put(rewrite, &(struct record){ .type = RECORD_LOST, .id = run->run_id });
	}
	for (uint32_t i = 0; i < manifest->run_count; i++)
		if (manifest->runs[i].level || manifest->runs[i].into)
			rewrite_tables(rewrite, &manifest->runs[i]);
}

static void rewrite_records(struct rewrite *rewrite)
{
	const struct manifest *manifest = rewrite->manifest;

	rewrite_runs(rewrite);
	for (uint32_t i = 0; i < manifest->open_count; i++)
		rewrite_put(rewrite, &(struct record){ .type = RECORD_LAYER_OPENED,
						       .id = manifest->open_ids[i] });
	if (manifest->durable.value)
		rewrite_put(rewrite, &(struct record){ .type = RECORD_DURABLE, .lsn = manifest->durable });
	if (manifest->window_ns || manifest->window_bytes)
		rewrite_put(rewrite, &(struct record){ .type = RECORD_WINDOW, .window_ns = manifest->window_ns,
						       .window_bytes = manifest->window_bytes });
	if (manifest->oldest.value)
		rewrite_put(rewrite, &(struct record){ .type = RECORD_OLDEST, .lsn = manifest->oldest });
	for (uint32_t i = 0; i < manifest->tag_count; i++)
		rewrite_put(rewrite, &(struct record){ .type = RECORD_TAG, .lsn = manifest->tags[i].lsn,
						       .name = manifest->tags[i].name,
						       .name_bytes = (uint32_t)strlen(manifest->tags[i].name) });
	if (manifest->ino_next)
		rewrite_put(rewrite, &(struct record){ .type = RECORD_INODES, .id = manifest->ino_next });
	if (manifest->id_next > 1)
		rewrite_put(rewrite, &(struct record){ .type = RECORD_IDS, .id = manifest->id_next });
}

static int rewrite_file(struct rewrite *rewrite)
{
	const struct manifest *manifest = rewrite->manifest;

	rewrite->chain = manifest->store.seed;
	rewrite->buffer = malloc(MANIFEST_RECORD_BYTES_MAX);
	if (!rewrite->buffer)
		return -ENOMEM;
	rewrite->err = io_reserve(rewrite->fd, RESERVE_STEP_BYTES);
	header_encode(manifest, rewrite->buffer);
	rewrite->filled = MANIFEST_HEADER_BYTES;
	rewrite_records(rewrite);
	rewrite_flush(rewrite);
	free(rewrite->buffer);
	return rewrite->err ? rewrite->err : io_sync(rewrite->fd);      /* the bytes before the name */
}

int manifest_replace(struct manifest *manifest)
{
	struct rewrite rewrite = { .manifest = manifest, .fd = -1 };
	int err;

	err = io_open(manifest->dir_fd, MANIFEST_NEW_NAME, O_RDWR | O_CREAT | O_TRUNC, 0600, &rewrite.fd);
	if (err)
		return err;
	err = rewrite_file(&rewrite);
	if (!err) {
		err = io_publish(manifest->dir_fd, MANIFEST_NEW_NAME, MANIFEST_NAME);
		/* Which of the two a crash leaves is not known: what is appended to either may be lost. */
		manifest->broken |= err != 0;
	}
	if (err) {
		io_close(rewrite.fd);
		io_unlink(manifest->dir_fd, MANIFEST_NEW_NAME);
		return err;
	}
	io_close(manifest->fd);
	manifest->fd = rewrite.fd;
	manifest->format_version = MANIFEST_FORMAT_VERSION;
	manifest->chain = rewrite.chain;
	manifest->tail_bytes = rewrite.at;
	manifest->record_count = rewrite.record_count;
	manifest->torn = false;
	return 0;
}

static bool is_outdated(const struct manifest *manifest)
{
	/* Below the usual limit by a test's wish, however many of the records are needed. */
	return manifest->record_count >= manifest->rewrite_min &&
	       (manifest->record_count / 4 >= manifest_needed(manifest) ||
		manifest->rewrite_min < REWRITE_RECORDS_MIN);
}

int manifest_tidy(struct manifest *manifest)
{
	if (!manifest->torn && manifest->format_version == MANIFEST_FORMAT_VERSION && !is_outdated(manifest))
		return 0;
	return manifest_replace(manifest);
}

static int id_make(uint8_t id_out[16])
{
	if (getrandom(id_out, 16, 0) != 16)
		return -EIO;
	id_out[6] = (id_out[6] & 0x0f) | 0x40;  /* RFC 4122, version 4 */
	id_out[8] = (id_out[8] & 0x3f) | 0x80;
	return 0;
}

int manifest_create(int dir_fd, uint32_t page_size_bytes, enum compression compression)
{
	struct manifest manifest;
	struct timespec now;
	int fd, err;

	manifest_init(&manifest, dir_fd);
	err = io_open(dir_fd, MANIFEST_NAME, O_RDONLY, 0, &fd);
	if (err != -ENOENT) {
		io_close(fd);
		return err ? err : -EEXIST;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	manifest.made_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	manifest.store.page_size_bytes = page_size_bytes;
	manifest.compression = compression;
	err = id_make(manifest.store.id);
	if (err)
		return err;
	manifest.store.seed = manifest_seed(manifest.store.id);
	err = manifest_replace(&manifest);
	/* A name whose sync failed may go at any power cut: there must be no store then. */
	if (err)
		io_unlink(dir_fd, MANIFEST_NAME);
	manifest_close(&manifest);
	return err;
}

/* ---- appending ---- */

/* Write @size bytes behind the last record. -ENOSPC before anything was written: nothing happened. */
static int append_bytes(struct manifest *manifest, const uint8_t *bytes, uint32_t size)
{
	uint64_t file_bytes, needed = manifest->tail_bytes + size;
	int err = io_size(manifest->fd, &file_bytes);

	if (!err && needed > file_bytes)
		err = io_reserve(manifest->fd, needed + RESERVE_STEP_BYTES - needed % RESERVE_STEP_BYTES);
	if (err)
		return err;
	err = io_write(manifest->fd, bytes, size, manifest->tail_bytes);
	if (!err)
		err = io_sync(manifest->fd);
	/* Half a record may be there; only a new open may write behind it. */
	manifest->broken |= err != 0;
	return err;
}

/* Encode a record that was checked, and append it. */
static int append_record(struct manifest *manifest, const struct record *record, uint64_t *chain_out)
{
	uint8_t small[512], *bytes = small;
	uint32_t size = record_size(record);
	int err;

	if (size > sizeof(small))
		bytes = malloc(size);
	if (!bytes)
		return -ENOMEM;
	*chain_out = record_encode(record, manifest->chain, bytes);
	err = append_bytes(manifest, bytes, size);
	if (bytes != small)
		free(bytes);
	return err;
}

static int manifest_append(struct manifest *manifest, struct record *record)
{
	uint64_t chain;
	int err;

	if (manifest->broken)
		return -EROFS;
	err = record_check(manifest, record);
	if (!err)
		err = append_record(manifest, record, &chain);
	if (err) {
		free(record->fresh);
		return err;
	}
	manifest->chain = chain;
	manifest->tail_bytes += record_size(record);
	manifest->record_count += record_weight(record);
	record_apply(manifest, record);
	/* If it can't be rewritten it only goes on growing; it is tried again at the next record. */
	if (is_outdated(manifest))
		(void)manifest_replace(manifest);
	return 0;
}

int manifest_layer_opened(struct manifest *manifest, uint64_t layer_id)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_LAYER_OPENED, .id = layer_id });
}

int manifest_layer_sealed(struct manifest *manifest, const struct manifest_run *run)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_LAYER_SEALED, .run = *run });
}

int manifest_layer_dropped(struct manifest *manifest, uint64_t layer_id)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_LAYER_DROPPED, .id = layer_id });
}

int manifest_durable(struct manifest *manifest, struct lsn lsn)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_DURABLE, .lsn = lsn });
}

int manifest_piece_done(struct manifest *manifest, const struct manifest_piece *piece)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_PIECE, .piece = *piece });
}

int manifest_window_set(struct manifest *manifest, uint64_t window_ns, uint64_t window_bytes)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_WINDOW, .window_ns = window_ns,
							   .window_bytes = window_bytes });
}

int manifest_oldest_set(struct manifest *manifest, struct lsn lsn)
{
	if (lsn.value <= manifest->oldest.value)
		return 0;
	return manifest_append(manifest, &(struct record){ .type = RECORD_OLDEST, .lsn = lsn });
}

int manifest_inodes_set(struct manifest *manifest, uint64_t ino_next)
{
	if (ino_next <= manifest->ino_next)
		return 0;
	return manifest_append(manifest, &(struct record){ .type = RECORD_INODES, .id = ino_next });
}

int manifest_tag_set(struct manifest *manifest, const char *name, struct lsn lsn)
{
	size_t size = strlen(name);
	int err;

	if (!size || size > MANIFEST_TAG_BYTES_MAX)
		return -EINVAL;
	err = manifest_append(manifest, &(struct record){ .type = RECORD_TAG, .lsn = lsn, .name = name,
							  .name_bytes = (uint32_t)size });
	/* Nothing else of a tag can fail to follow. */
	return err == -EUCLEAN ? -ENOENT : err;
}

int manifest_lost(struct manifest *manifest, uint64_t layer_id)
{
	return manifest_append(manifest, &(struct record){ .type = RECORD_LOST, .id = layer_id });
}
