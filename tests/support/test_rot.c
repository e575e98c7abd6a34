#include "test_rot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

static void say_nothing(const char *line)
{
	(void)line;
}

int rot_open(const struct rot *rot, struct store **store_out)
{
	struct store_options options = { .holder = "a test", .read_only = true,
					 .cache_size_bytes = 1 };
	struct report report = { "" };
	int err = store_open(rot->golden->store, &options, &report, store_out);

	if (err && !report.text[0])
		fail_msg("not opened (%s), and no word why", strerror(-err));
	return err;
}

void rot_map(struct rot *rot)
{
	for (size_t i = 0; i < rot->file_count; i++)
		munmap(rot->files[i].map, rot->files[i].size_bytes);
	rot->file_count = 0;
	struct path_list *list = path_list_new(rot->golden->store);

	for (size_t i = 0; i < list->count; i++) {
		struct rot_file *file = &rot->files[rot->file_count];
		int fd;

		if (list->items[i].kind != 'f' || !strcmp(list->items[i].path, "lock"))
			continue;
		rot->file_count++;
		snprintf(file->name, sizeof(file->name), "%.60s", list->items[i].path);
		path_join(file->path, rot->golden->store, list->items[i].path);
		file->size_bytes = file->used_bytes = (size_t)list->items[i].size_bytes;
		fd = open(file->path, O_RDWR | O_CLOEXEC);
		must(fd >= 0, "cannot open", file->path);
		file->map = mmap(NULL, file->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		must(file->map != MAP_FAILED, "cannot map", file->path);
		close(fd);
		while (file->used_bytes && !file->map[file->used_bytes - 1])
			file->used_bytes--;
	}
	free(list);
}

struct rot *rot_new(void)
{
	struct rot *rot = calloc(1, sizeof(*rot));
	struct store *store;
	struct lsn head;

	assert_non_null(rot);
	log_set_sink(say_nothing);
	rot->golden = golden_new(GOLDEN_TABLES_NAME);
	assert_ok(rot_open(rot, &store));
	store_window(store, &rot->oldest, &head);
	for (size_t i = 0; i < rot->golden->count; i++) {
		rot->noted[i] = census_take(store, rot->golden->lsns[i]);
		assert_true(census_digest(rot->noted[i]) == rot->golden->digests[i]);
	}
	assert_ok(store_close(store));
	rot_map(rot);
	return rot;
}

void rot_free(struct rot *rot)
{
	for (size_t i = 0; i < rot->file_count; i++)
		munmap(rot->files[i].map, rot->files[i].size_bytes);
	for (size_t i = 0; i < rot->golden->count; i++)
		census_free(rot->noted[i]);
	golden_free(rot->golden);
	log_set_sink(NULL);
	free(rot);
}

enum rot_outcome rot_ask_open(const struct rot *rot, struct store *store,
			      struct census_verdict *verdict)
{
	size_t last = rot->golden->count - 1;
	struct lsn oldest, head;

	*verdict = (struct census_verdict){ .refused_ino = verdict->refused_ino };
	store_window(store, &oldest, &head);
	if (head.value != rot->golden->lsns[last].value || oldest.value != rot->oldest.value) {
		verdict->wrong++;
		snprintf(verdict->first_wrong, sizeof(verdict->first_wrong),
			 "the window is %" PRIu64 " to %" PRIu64, oldest.value, head.value);
	}
	for (size_t i = 0; i <= last; i++)
		census_check(rot->noted[i], store, rot->golden->lsns[i], verdict);
	census_check(rot->noted[last], store, LSN_HEAD, verdict);
	return verdict->wrong ? ROT_WRONG : verdict->refused ? ROT_DETECTED : ROT_HARMLESS;
}

static bool refuses_damage(int err)
{
	return err == -EUCLEAN || err == -EBADMSG || err == -EIO || err == -EMEDIUMTYPE ||
	       err == -EPROTONOSUPPORT;
}

enum rot_outcome rot_ask(const struct rot *rot, struct census_verdict *verdict)
{
	enum rot_outcome outcome;
	struct store *store;
	int err = rot_open(rot, &store);

	*verdict = (struct census_verdict){ .refused_ino = verdict->refused_ino };
	if (err && !refuses_damage(err)) {
		verdict->wrong++;
		snprintf(verdict->first_wrong, sizeof(verdict->first_wrong), "opening: %s",
			 strerror(-err));
		return ROT_WRONG;
	}
	if (err)
		return ROT_DETECTED;
	outcome = rot_ask_open(rot, store, verdict);
	assert_ok(store_close(store));
	return outcome;
}
