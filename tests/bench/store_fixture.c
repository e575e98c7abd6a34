#include "store_fixture.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "bench.h"
#include "clock.h"
#include "tree.h"

#define FILE_NAME "data"

int store_fixture_make(struct store_fixture *fixture, struct bench *bench, const char *name)
{
	const struct store_mkfs_options options = { 0 };
	struct report report = { "" };
	int err;

	*fixture = (struct store_fixture){ .store = NULL };
	if (snprintf(fixture->path, sizeof(fixture->path), "%s/%s", bench_dir(bench), name)
	    >= (int)sizeof(fixture->path))
		return bench_fail(bench, -ENAMETOOLONG, "%s", bench_dir(bench));
	err = store_mkfs(fixture->path, &options, &report);
	return err ? bench_fail(bench, err, "%s", report.text) : 0;
}

int store_fixture_open(struct store_fixture *fixture, struct bench *bench,
		       uint64_t layer_size_bytes)
{
	const struct store_options options = {
		.holder = "varve-bench",
		.layer_size_bytes = layer_size_bytes,
	};
	struct report report = { "" };
	int err = store_open(fixture->path, &options, &report, &fixture->store);

	return err ? bench_fail(bench, err, "%s", report.text) : 0;
}

static int file_make(struct store_fixture *fixture)
{
	const struct tree_new what = { .mode = S_IFREG | 0644 };
	struct tree_attr attr;
	int err = tree_create(fixture->store, TREE_ROOT_INO, FILE_NAME, &what, &attr);

	fixture->ino = attr.ino;
	return err;
}

int store_fixture_fill(struct store_fixture *fixture, struct bench *bench, uint64_t size_bytes,
		       uint32_t call_bytes)
{
	uint64_t *noise = malloc(call_bytes);
	struct dice dice = { 3 };
	int err = noise ? file_make(fixture) : -ENOMEM;

	assert(call_bytes % sizeof(*noise) == 0 && size_bytes % call_bytes == 0);
	for (uint32_t i = 0; noise && i < call_bytes / sizeof(*noise); i++)
		noise[i] = dice_next(&dice);
	for (uint64_t at = 0; at < size_bytes && !err; at += call_bytes) {
		/* No two calls alike, lest somebody store a page once. */
		noise[0] = at;
		err = tree_write(fixture->store, fixture->ino, at, noise, call_bytes, false);
	}
	free(noise);
	return err ? bench_fail(bench, err, "filling %s", fixture->path) : 0;
}

int store_fixture_close(struct store_fixture *fixture)
{
	int err = store_close(fixture->store);

	fixture->store = NULL;
	return err;
}
