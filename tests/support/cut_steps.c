#include "cut_steps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "layer_file.h"
#include "manifest_internal.h"
#include "power_load.h"

#define TABLE_MAGIC "VARVETAB"
/* Of a record: bytes before the type, and before a piece's flags (core/FORMAT.md). */
#define RECORD_TYPE_AT 4u
#define PIECE_FLAGS_AT 49u
#define PIECE_IS_LAST 1u

const char *const cut_step_names[STEPS] = {
	"table named", "table written", "table synced", "names synced", "piece", "last piece",
	"record synced", "log layer removed", "table removed", "inodes", "oldest", "window",
	"manifest written", "manifest renamed",
};

/* What is known of an inode. */
struct file {
	enum { FILE_OTHER, FILE_LAYER, FILE_TABLE, FILE_MANIFEST, FILE_NEW_MANIFEST } kind;
	uint64_t layer_id;
	uint64_t named_at;              /* the event that named it */
	uint64_t tail_bytes;            /* of a manifest: where its next record goes */
};

struct reading {
	struct cut_steps *steps;
	struct sim_replay *replay;
	struct file *files;             /* by inode */
	uint32_t file_count;
	uint32_t layers_inode;
	bool table_named;               /* since the directory of layers was synced */
	bool piece_written;             /* since the manifest was synced */
};

static struct file *file_of(struct reading *reading, uint32_t inode)
{
	if (inode >= reading->file_count) {
		uint32_t count = 2 * inode + 16;

		reading->files = realloc(reading->files, count * sizeof(*reading->files));
		require(reading->files);
		memset(reading->files + reading->file_count, 0,
		       (count - reading->file_count) * sizeof(*reading->files));
		reading->file_count = count;
	}
	return &reading->files[inode];
}

static struct cut_event *event_now(const struct reading *reading)
{
	return &reading->steps->events[reading->replay->position - 1];
}

static void note(const struct reading *reading, enum cut_step step)
{
	event_now(reading)->steps |= 1u << step;
}

/* ---- data ---- */

static const uint8_t *byte_of(const struct sim_write *write, uint64_t at)
{
	for (uint32_t i = 0; i < write->page_count; i++)
		if (write->pages[i].number == at / SIM_PAGE_BYTES)
			return sim_page_bytes(write->pages[i].page) + at % SIM_PAGE_BYTES;
	return NULL;
}

/* The record's size, if its head is in the write; else 0. */
static uint32_t record_size_at(const struct sim_write *write, uint64_t at)
{
	uint32_t size = 0;

	for (unsigned i = 0; i < 4; i++) {
		const uint8_t *byte = byte_of(write, at + i);

		if (!byte)
			return 0;
		size |= (uint32_t)*byte << 8 * i;
	}
	return byte_of(write, at + size - 1) ? size : 0;
}

static void note_record(struct reading *reading, const struct sim_write *write, uint64_t at)
{
	const uint8_t *flags = byte_of(write, at + PIECE_FLAGS_AT);

	switch (*byte_of(write, at + RECORD_TYPE_AT)) {
	case RECORD_PIECE:
		note(reading, flags && *flags & PIECE_IS_LAST ? STEP_LAST_PIECE : STEP_PIECE);
		reading->piece_written = true;
		break;
	case RECORD_INODES:
		note(reading, STEP_INODES);
		break;
	case RECORD_OLDEST:
		note(reading, STEP_OLDEST);
		break;
	case RECORD_WINDOW:
		note(reading, STEP_WINDOW);
		break;
	}
}

static void note_records(struct reading *reading, const struct sim_write *write, struct file *file)
{
	uint32_t size;

	while ((size = record_size_at(write, file->tail_bytes)) > RECORD_TYPE_AT) {
		if (file->kind == FILE_MANIFEST)
			note_record(reading, write, file->tail_bytes);
		file->tail_bytes += size;
	}
	if (file->kind == FILE_NEW_MANIFEST)
		note(reading, STEP_MANIFEST_WRITTEN);
}

static void note_data(struct reading *reading, const struct sim_write *write)
{
	struct file *file = file_of(reading, write->inode);
	const uint8_t *start = byte_of(write, 0);

	if (file->kind == FILE_LAYER && start && !memcmp(start, TABLE_MAGIC, 8)) {
		file->kind = FILE_TABLE;
		reading->steps->events[file->named_at].steps |= 1u << STEP_TABLE_NAMED;
		reading->table_named = true;
	}
	if (file->kind == FILE_TABLE)
		note(reading, STEP_TABLE_WRITTEN);
	else if (file->kind == FILE_MANIFEST || file->kind == FILE_NEW_MANIFEST)
		note_records(reading, write, file);
}

/* ---- names and syncs ---- */

static void set_name(struct reading *reading, const char *name, uint32_t inode, uint64_t at)
{
	struct file *file = file_of(reading, inode);
	uint64_t layer_id;

	if (strcmp(name, "layers") == 0)
		reading->layers_inode = inode;
	if (!layer_name_parse(name, &layer_id)) {
		file->kind = FILE_LAYER;
		file->layer_id = layer_id;
		file->named_at = at;
	} else if (strcmp(name, MANIFEST_NAME) == 0) {
		file->kind = FILE_MANIFEST;
	} else if (strcmp(name, MANIFEST_NAME ".new") == 0) {
		file->kind = FILE_NEW_MANIFEST;
		file->tail_bytes = MANIFEST_HEADER_BYTES;
	}
}

static void note_removed(struct reading *reading, const char *name)
{
	uint64_t layer_id;

	if (layer_name_parse(name, &layer_id))
		return;
	for (uint32_t i = 0; i < reading->file_count; i++) {
		const struct file *file = &reading->files[i];

		if (file->layer_id == layer_id && file->kind == FILE_TABLE)
			note(reading, STEP_TABLE_REMOVED);
		else if (file->layer_id == layer_id && file->kind == FILE_LAYER)
			note(reading, STEP_LOG_REMOVED);
	}
}

static void note_name(struct reading *reading, const struct sim_write *write)
{
	if (!write->set[0]) {
		note_removed(reading, write->unset);
		return;
	}
	if (strcmp(write->set, MANIFEST_NAME) == 0)
		note(reading, STEP_MANIFEST_RENAMED);
	set_name(reading, write->set, write->target, reading->replay->position - 1);
}

static void note_sync(struct reading *reading, uint32_t inode)
{
	const struct file *file = file_of(reading, inode);

	if (file->kind == FILE_TABLE)
		note(reading, STEP_TABLE_SYNCED);
	if (inode == reading->layers_inode && reading->table_named) {
		note(reading, STEP_NAMES_SYNCED);
		reading->table_named = false;
	}
	if (file->kind == FILE_MANIFEST && reading->piece_written) {
		note(reading, STEP_RECORD_SYNCED);
		reading->piece_written = false;
	}
}

/* ---- all of it ---- */

/* The names and files that were there before the first event. */
static void note_start(struct reading *reading)
{
	const struct sim_state *state = reading->replay->durable;

	for (uint32_t dir = 0; dir < state->inode_count; dir++) {
		const struct sim_inode *inode = &state->inodes[dir];

		for (uint32_t i = 0; inode->is_dir && i < inode->entry_count; i++) {
			const struct sim_inode *target = &state->inodes[inode->entries[i].inode];
			struct file *file = file_of(reading, inode->entries[i].inode);

			set_name(reading, inode->entries[i].name, inode->entries[i].inode, 0);
			if (file->kind == FILE_LAYER && target->page_count && target->pages[0] &&
			    !memcmp(target->pages[0]->bytes, TABLE_MAGIC, 8))
				file->kind = FILE_TABLE;
			/* Its end is not looked for: records behind it are not told apart. */
			if (file->kind == FILE_MANIFEST)
				file->tail_bytes = SIM_FILE_BYTES_MAX;
		}
	}
}

struct cut_steps *cut_steps_new(const struct sim_disk *disk)
{
	struct cut_steps *steps = calloc(1, sizeof(*steps));
	struct reading reading = { .steps = steps, .replay = sim_replay_new(disk) };
	const struct sim_event *event;
	uint64_t room = 0, reach = UINT64_MAX;

	require(steps);
	note_start(&reading);
	while ((event = sim_replay_step(reading.replay)) != NULL) {
		if (steps->count == room) {
			room = room ? 2 * room : 1024;
			steps->events = realloc(steps->events, room * sizeof(*steps->events));
			require(steps->events);
		}
		steps->events[steps->count++] = (struct cut_event){ 0, UINT64_MAX };
		if (event->kind == SIM_EVENT_SYNC)
			note_sync(&reading, event->inode);
		else if (event->kind == SIM_EVENT_MARK && event->mark_kind == LOAD_CHANGED)
			event_now(&reading)->reach = event->mark_value;
		else if (event->kind == SIM_EVENT_WRITE && event->write.kind == SIM_WRITE_DATA)
			note_data(&reading, &event->write);
		else if (event->kind == SIM_EVENT_WRITE && event->write.kind == SIM_WRITE_NAME)
			note_name(&reading, &event->write);
	}
	for (uint64_t i = steps->count; i-- > 0;) {
		uint64_t here = steps->events[i].reach;

		steps->events[i].reach = reach;
		if (here != UINT64_MAX)
			reach = here;
	}
	sim_replay_free(reading.replay);
	free(reading.files);
	return steps;
}

void cut_steps_free(struct cut_steps *steps)
{
	if (steps)
		free(steps->events);
	free(steps);
}

void cut_steps_count(const struct cut_steps *steps, uint64_t at, uint64_t counts[STEPS])
{
	for (unsigned step = 0; step < STEPS; step++)
		counts[step] += steps->events[at].steps >> step & 1;
}

void cut_steps_print(const char *what, const uint64_t counts[STEPS], uint32_t needed)
{
	print_message("%s: ", what);
	for (unsigned step = 0; step < STEPS; step++)
		print_message("%s%s %" PRIu64, step ? ", " : "", cut_step_names[step], counts[step]);
	print_message("\n");
	for (unsigned step = 0; step < STEPS; step++)
		assert_true(counts[step] || !(needed >> step & 1));
}
