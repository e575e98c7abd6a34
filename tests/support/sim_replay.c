#include <stdlib.h>
#include <string.h>

#include "sim_disk_internal.h"
#include "test_support.h"

/* ---- recording ---- */

struct sim_event *sim_trace_add(struct sim_disk *disk, enum sim_event_kind kind)
{
	if (disk->event_count == disk->event_room) {
		disk->event_room = disk->event_room ? 2 * disk->event_room : 64;
		disk->events = realloc(disk->events, disk->event_room * sizeof(*disk->events));
		require(disk->events);
	}
	disk->events[disk->event_count] = (struct sim_event){ .kind = kind };
	return &disk->events[disk->event_count++];
}

void sim_trace_write(struct sim_disk *disk, const struct sim_write *write)
{
	sim_trace_add(disk, SIM_EVENT_WRITE)->write = *write;
}

void sim_trace_collect(struct sim_disk *disk)
{
	for (uint32_t i = 0; i < disk->memory_room; i++) {
		struct sim_write write;

		if (!disk->memories[i] || !sim_memory_collect(disk->memories[i], &write))
			continue;
		write.inode = i;
		sim_trace_write(disk, &write);
	}
}

void sim_disk_mark(struct sim_disk *disk, uint32_t kind, uint64_t value)
{
	struct sim_event *event;

	sim_disk_enter(disk);
	sim_trace_collect(disk);
	event = sim_trace_add(disk, SIM_EVENT_MARK);
	event->mark_kind = kind;
	event->mark_value = value;
	sim_disk_leave(disk);
}

uint64_t sim_disk_event_count(struct sim_disk *disk)
{
	uint64_t count;

	sim_disk_enter(disk);
	count = disk->event_count;
	sim_disk_leave(disk);
	return count;
}

/* ---- walking along it ---- */

struct sim_replay *sim_replay_new(const struct sim_disk *disk)
{
	struct sim_replay *replay = calloc(1, sizeof(*replay));

	require(replay);
	replay->disk = disk;
	replay->durable = sim_state_copy(disk->start);
	/* Inodes that come later are there from the start; no name leads to them. */
	while (replay->durable->inode_count < disk->names->inode_count)
		sim_state_add(replay->durable,
			      disk->names->inodes[replay->durable->inode_count].is_dir);
	return replay;
}

void sim_replay_free(struct sim_replay *replay)
{
	if (!replay)
		return;
	sim_state_free(replay->durable);
	free(replay->pending);
	free(replay);
}

static void pending_add(struct sim_replay *replay, const struct sim_write *write)
{
	if (replay->pending_count == replay->pending_room) {
		replay->pending_room = replay->pending_room ? 2 * replay->pending_room : 64;
		replay->pending = realloc(replay->pending,
					  replay->pending_room * sizeof(*replay->pending));
		require(replay->pending);
	}
	replay->pending[replay->pending_count++] = write;
}

/* What was pending of @inode is durable, or, if the sync failed, lost. */
static void pending_settle(struct sim_replay *replay, uint32_t inode, bool durable)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < replay->pending_count; i++) {
		const struct sim_write *write = replay->pending[i];

		if (write->inode != inode)
			replay->pending[left++] = write;
		else if (durable)
			sim_state_apply(replay->durable, write, NULL, NULL);
	}
	replay->pending_count = left;
}

const struct sim_event *sim_replay_step(struct sim_replay *replay)
{
	const struct sim_event *event;

	if (replay->position == replay->disk->event_count)
		return NULL;
	event = &replay->disk->events[replay->position++];
	if (event->kind == SIM_EVENT_WRITE)
		pending_add(replay, &event->write);
	else if (event->kind != SIM_EVENT_MARK)
		pending_settle(replay, event->inode, event->kind == SIM_EVENT_SYNC);
	return event;
}

struct keep_of_write {
	sim_cut_fn *keep;
	void *context;
	uint32_t i;
};

static bool keep_sector(void *context, uint32_t sector)
{
	const struct keep_of_write *of = context;

	return of->keep(of->context, of->i, sector);
}

struct sim_state *sim_replay_cut(const struct sim_replay *replay, sim_cut_fn *keep, void *context)
{
	struct sim_state *state = sim_state_copy(replay->durable);

	for (uint32_t i = 0; i < replay->pending_count; i++) {
		const struct sim_write *write = replay->pending[i];
		struct keep_of_write of = { keep, context, i };

		if (write->kind == SIM_WRITE_DATA || keep(context, i, 0))
			sim_state_apply(state, write, keep_sector, &of);
	}
	sim_state_trim(state);
	return state;
}
