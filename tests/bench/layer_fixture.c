#include "layer_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "io.h"

int layer_fixture_init(struct layer_fixture *fixture, const char *dir)
{
	*fixture = (struct layer_fixture){
		.store = { .seed = 1, .page_size_bytes = FIXTURE_PAGE_BYTES },
	};
	fixture->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fixture->dir_fd < 0 ? -errno : 0;
}

static void layer_drop(struct layer_fixture *fixture)
{
	char name[LAYER_NAME_BYTES];

	if (!fixture->layer)
		return;
	open_layer_close(fixture->layer);
	fixture->layer = NULL;
	layer_name(fixture->layer_id, name);
	io_unlink(fixture->dir_fd, name);
}

void layer_fixture_destroy(struct layer_fixture *fixture)
{
	layer_drop(fixture);
	if (fixture->dir_fd >= 0)
		close(fixture->dir_fd);
}

int layer_fixture_renew(struct layer_fixture *fixture, uint64_t size_bytes)
{
	int err;

	layer_drop(fixture);
	fixture->layer_id++;
	err = open_layer_create(fixture->dir_fd, fixture->layer_id, size_bytes, &fixture->store,
				&fixture->layer);
	if (!err)
		open_layer_start(fixture->layer, lsn_make(0), fixture->store.seed);
	return err;
}

uint64_t layer_fixture_size(uint64_t versions, size_t payload_bytes)
{
	uint64_t log_bytes =
		versions * (payload_bytes + BATCH_HEADER_BYTES + BATCH_ENTRY_HEAD_MAX);
	uint64_t size_bytes = LAYER_HEADER_BYTES + log_bytes
		+ layer_index_bytes((uint32_t)versions, (uint32_t)versions)
		+ 2 * LAYER_BLOCK_BYTES;

	size_bytes = (size_bytes + LAYER_BLOCK_BYTES - 1) / LAYER_BLOCK_BYTES * LAYER_BLOCK_BYTES;
	return size_bytes < LAYER_SIZE_MIN ? LAYER_SIZE_MIN : size_bytes;
}

int layer_fixture_append(struct layer_fixture *fixture, uint64_t page, const void *payload,
			 size_t payload_bytes, struct lsn *lsn_out)
{
	struct batch_entry entry = {
		.key = key_make(FIXTURE_INO, KEY_PAGE, page),
		.form = VERSION_IMAGE,
		.body = payload,
		.body_bytes = (uint32_t)payload_bytes,
	};
	struct lease lease;
	int err = open_layer_lease(fixture->layer, batch_size(&entry, 1), 1, 1, &lease);

	if (err)
		return err > 0 ? -ENOSPC : err;
	lease_fill(&lease, &entry, 1, lsn_make(0));
	lease_publish(&lease, &entry, 1);
	*lsn_out = lease.lsn;
	return 0;
}
