#include "test_place.h"

#include <fcntl.h>
#include <unistd.h>

struct place *place_new(const char *file_name)
{
	struct place *place = calloc(1, sizeof(*place));

	assert_non_null(place);
	dir_make_temporary(place->dir);
	path_join(place->path, place->dir, file_name);
	place->dir_fd = open(place->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(place->dir_fd >= 0, "open", place->dir);
	return place;
}

void place_free(struct place *place)
{
	if (!place)
		return;
	close(place->dir_fd);
	dir_remove(place->dir);
	free(place);
}

int setup_place(void **state)
{
	*state = place_new(PLACE_FILE);
	return 0;
}

int teardown_place(void **state)
{
	place_free(*state);
	return 0;
}
