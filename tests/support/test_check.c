#include "test_check.h"

#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

static void keep_finding(void *context, const struct finding *finding)
{
	struct check_run *run = context;

	if (run->count < array_size(run->findings))
		run->findings[run->count] = *finding;
	run->count++;
}

struct check_run *check_run_new(const char *path, bool repair, unsigned name_hash_bits)
{
	struct check_run *run = calloc(1, sizeof(*run));
	struct store_check_options options = {
		.repair = repair,
		.sample_count = 6,
		.name_hash_bits = name_hash_bits,
		.hooks = { .found = keep_finding, .context = run },
	};

	assert_non_null(run);
	run->err = store_check(path, &options, &run->report, &run->result);
	return run;
}

struct check_run *check_run_running(struct store *store)
{
	struct check_run *run = calloc(1, sizeof(*run));
	struct store_check_options options = { .hooks = { .found = keep_finding, .context = run } };

	assert_non_null(run);
	run->err = store_check_running(store, &options, &run->result);
	return run;
}

const struct finding *check_run_find(const struct check_run *run, enum finding_kind kind)
{
	for (size_t i = 0; i < run->count && i < array_size(run->findings); i++)
		if (run->findings[i].kind == kind)
			return &run->findings[i];
	return NULL;
}

void check_run_print(const struct check_run *run)
{
	print_error("check: %s %s, %zu findings\n", strerror(-run->err), run->report.text,
		    run->count);
	for (size_t i = 0; i < run->count && i < 8; i++)
		print_error("\t%s: %s inode %" PRIu64 ": %s (from %" PRIu64 " until %" PRIu64 ")\n",
			    finding_kind_name(run->findings[i].kind), run->findings[i].file,
			    run->findings[i].key.ino, run->findings[i].text,
			    run->findings[i].from.value, run->findings[i].until.value);
}

void assert_clean_colliding(const char *path, unsigned name_hash_bits)
{
	struct check_run *run = check_run_new(path, false, name_hash_bits);

	if (run->err || run->count || run->result.finding_count) {
		check_run_print(run);
		fail_msg("%s is not clean", path);
	}
	free(run);
}

void assert_clean(const char *path)
{
	assert_clean_colliding(path, 0);
}

static bool is_layer_file(const struct path_item *item)
{
	size_t length = strlen(item->path);

	return item->kind == 'f' && !strncmp(item->path, "layers/", 7) && length > 6 &&
	       !strcmp(item->path + length - 6, ".layer");
}

unsigned layer_file_count(const char *store)
{
	struct path_list *list = path_list_new(store);
	unsigned count = 0;

	for (size_t i = 0; i < list->count; i++)
		count += is_layer_file(&list->items[i]);
	free(list);
	return count;
}

void layer_path(const char *store, unsigned nth, char path_out[PATH_MAX])
{
	struct path_list *list = path_list_new(store);
	bool found = false;

	for (size_t i = 0; i < list->count && !found; i++) {
		if (is_layer_file(&list->items[i]) && nth-- == 0) {
			path_join(path_out, store, list->items[i].path);
			found = true;
		}
	}
	free(list);
	assert_true(found);
}

void file_flip(const char *path, off_t offset)
{
	uint8_t byte = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	must(fd >= 0 && pread(fd, &byte, 1, offset) == 1, "read", path);
	byte ^= 0x10;
	must(pwrite(fd, &byte, 1, offset) == 1, "write", path);
	close(fd);
}
