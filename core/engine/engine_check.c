#include "engine_check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_check_internal.h"
#include "engine_internal.h"
#include "io.h"
#include "layer_check.h"

void engine_found_in_manifest(const struct check_hooks *hooks, const char *text)
{
	struct finding finding = { .kind = FINDING_MANIFEST, .file = MANIFEST_NAME };

	check_found(hooks, &finding, "%s", text);
}

static struct finding lost_finding(uint64_t layer_id, struct lsn start)
{
	struct finding finding = { .kind = FINDING_FILE, .layer_id = layer_id, .known = true,
				   .from = lsn_make(start.value + 1),
				   .until = lsn_make(FINDING_OPEN_END) };
	char name[LAYER_NAME_BYTES];

	layer_name(layer_id, name);
	snprintf(finding.file, sizeof(finding.file), LAYERS_NAME "/%s", name);
	return finding;
}

void engine_found_lost_layer(const struct check_hooks *hooks, uint64_t layer_id, struct lsn start,
			     struct lsn end)
{
	struct finding finding = lost_finding(layer_id, start);

	check_found(hooks, &finding, "the file is lost, and with it what was written from LSN %" PRIu64
		    " to %" PRIu64 "; what needs that is refused", start.value + 1, end.value);
}

void engine_found_lost_table(const struct check_hooks *hooks, const struct table_summary *table)
{
	struct finding finding = lost_finding(table->layer_id, table->start);

	check_found(hooks, &finding, "the file is lost, and with it what was written of inodes %" PRIu64
		    " to %" PRIu64 " from LSN %" PRIu64 " to %" PRIu64 "; what needs that is refused",
		    table->first_key.ino, table->last_key.ino, table->start.value + 1,
		    table->end.value);
}

/* The check so far: where the history has led. */
struct walk {
	const struct check_hooks *hooks;
	struct engine_check_result *result;
	struct manifest manifest;
	int layers_fd;
	struct lsn end;                 /* behind the layers looked at */
	uint64_t chain;
	struct lsn durable;
	/* where an open layer ends, for the case that it ends too early */
	uint64_t short_id;
	bool short_in_payload;
	struct key short_key;
};

/* The history goes on behind @run. */
static void step_behind(struct walk *walk, const struct manifest_run *run)
{
	if (run->end.value <= walk->end.value)
		return;
	walk->end = walk->durable = run->end;
	walk->chain = run->chain_end;
}

static int open_layer_file(const struct walk *walk, uint64_t layer_id, int *fd_out)
{
	char name[LAYER_NAME_BYTES];

	layer_name(layer_id, name);
	return io_open(walk->layers_fd, name, O_RDONLY, 0, fd_out);
}

#define PREFETCH_BYTES (1u << 20)

/* The disk stays busy from one layer to the next: what is read first of the next one, its front and its
 * footer, is on its way before it is needed. */
static void prefetch_file(const struct walk *walk, uint64_t layer_id, uint64_t file_bytes)
{
	int fd;

	if (file_bytes < LAYER_BLOCK_BYTES)
		return;
	if (open_layer_file(walk, layer_id, &fd) == 0) {
		io_prefetch(fd, 0, PREFETCH_BYTES);
		io_prefetch(fd, file_bytes - LAYER_BLOCK_BYTES, LAYER_BLOCK_BYTES);
	}
	io_close(fd);
}

static int check_sealed(struct walk *walk, const struct manifest_run *entry)
{
	struct layer_check_target target = {
		.dir_fd = walk->layers_fd, .store = &walk->manifest.store,
		.layer_id = entry->run_id, .sealed = true,
		.start = entry->start, .end = entry->end, .chain_end = entry->chain_end,
		.file_bytes = entry->file_bytes, .from = entry->from,
	};
	struct layer_check_result found;
	char text[160];
	int err;

	/* An input of a merge lies within the span of what comes out. */
	if (entry->start.value > walk->end.value ||
	    (entry->start.value < walk->end.value && !entry->into)) {
		snprintf(text, sizeof(text), "layer %" PRIu64 " begins at LSN %" PRIu64
			 ", the one before ends at %" PRIu64, entry->run_id, entry->start.value,
			 walk->end.value);
		engine_found_in_manifest(walk->hooks, text);
	} else if (entry->start.value == walk->end.value) {
		target.chain_start = walk->chain;
		target.chain_known = true;
	}
	if (entry->end.value < entry->start.value ||
	    entry->end.value - entry->start.value > LAYER_SIZE_MAX) {
		engine_found_in_manifest(walk->hooks, "the LSNs of a sealed layer are impossible");
		return 0;
	}
	err = layer_check(&target, walk->hooks, &found);
	step_behind(walk, entry);
	walk->result->layer_count++;
	walk->result->version_count += found.version_count;
	return err;
}

static int check_table(struct walk *walk, const struct manifest_run *run,
		       const struct table_summary *table)
{
	struct layer_check_target target = {
		.dir_fd = walk->layers_fd, .store = &walk->manifest.store, .from = run->from,
		.table = table,
	};
	struct layer_check_result found;
	int err;

	if (table->lost) {
		engine_found_lost_table(walk->hooks, table);
		return 0;
	}
	err = layer_check(&target, walk->hooks, &found);
	walk->result->layer_count++;
	walk->result->version_count += found.version_count;
	return err;
}

static int check_tables(struct walk *walk, const struct manifest_run *run)
{
	const struct table_summary *tables = manifest_run_layers(run);
	int err = 0;

	for (uint32_t i = 0; i < run->layer_count && !err; i++) {
		if (i + 1 < run->layer_count)
			prefetch_file(walk, tables[i + 1].layer_id, tables[i + 1].file_bytes);
		err = check_table(walk, run, &tables[i]);
	}
	return err;
}

static int check_run(struct walk *walk, const struct manifest_run *run)
{
	int err = 0;

	if (run->lost)
		engine_found_lost_layer(walk->hooks, run->run_id, run->start, run->end);
	else
		err = run->level ? check_tables(walk, run) : check_sealed(walk, run);
	step_behind(walk, run);
	return err;
}

static int check_abandoned(struct walk *walk, uint64_t layer_id, const struct check_hooks *hooks)
{
	struct layer_check_target target = {
		.dir_fd = walk->layers_fd, .store = &walk->manifest.store,
		.layer_id = layer_id, .start = walk->end, .chain_start = walk->chain,
		.chain_known = true, .durable = walk->durable,
	};
	struct layer_check_result found;
	int err = layer_check(&target, hooks, &found);

	if (found.durable.value > walk->durable.value)
		walk->durable = found.durable;
	if (!walk->short_id)
		walk->short_id = layer_id;
	if (!found.started)
		return err;
	walk->result->layer_count++;
	walk->result->version_count += found.version_count;
	walk->end = found.end;
	walk->chain = found.chain_end;
	walk->short_id = layer_id;
	walk->short_in_payload = found.ends_in_payload;
	walk->short_key = found.end_key;
	return err;
}

static int check_all_abandoned(struct walk *walk, const struct check_hooks *hooks)
{
	int err = 0;

	for (uint32_t i = 0; i < walk->manifest.open_count && !err; i++)
		err = check_abandoned(walk, walk->manifest.open_ids[i], hooks);
	return err;
}

static void ignore_finding(void *context, const struct finding *finding)
{
	(void)context;
	(void)finding;
}

/* The layers that were open: first what they say of syncs, which tells a torn end from
 * rot; then what that makes of them. */
static int check_open_end(struct walk *walk)
{
	static const struct check_hooks quiet = { .found = ignore_finding };
	struct walk before = *walk;
	struct engine_check_result counts = *walk->result;
	int err = check_all_abandoned(walk, &quiet);

	before.durable = walk->durable;
	*walk = before;
	*walk->result = counts;
	return err ? err : check_all_abandoned(walk, walk->hooks);
}

/* An end before what had been synced is damage. */
static void check_end(struct walk *walk)
{
	struct finding finding = { .kind = FINDING_LOG, .until = lsn_make(FINDING_OPEN_END),
				   .from = lsn_make(walk->end.value + 1) };

	walk->result->end = walk->end;
	if (walk->end.value >= walk->durable.value)
		return;
	if (walk->short_id) {
		char name[LAYER_NAME_BYTES];

		layer_name(walk->short_id, name);
		snprintf(finding.file, sizeof(finding.file), LAYERS_NAME "/%s", name);
		finding.layer_id = walk->short_id;
	}
	if (walk->short_in_payload)
		finding.key = walk->short_key;
	check_found(walk->hooks, &finding,
		    "the history can't be read beyond LSN %" PRIu64 ", but %" PRIu64
		    " bytes behind it had been synced; the store does not open so", walk->end.value,
		    walk->durable.value - walk->end.value);
}

static int check_unnamed(void *context, const char *name)
{
	struct walk *walk = context;
	struct finding finding = { .kind = FINDING_FILE };
	uint64_t layer_id;

	if (layer_name_parse(name, &layer_id) || manifest_names(&walk->manifest, layer_id) ||
	    judge_unnamed(walk->layers_fd, &walk->manifest, name) >= 0)
		return 0;
	snprintf(finding.file, sizeof(finding.file), LAYERS_NAME "/%s", name);
	finding.layer_id = layer_id;
	check_found(walk->hooks, &finding,
		    "the file holds history but the manifest does not name it");
	return 0;
}

/* The manifest, or what takes its place. */
static int learn_manifest(struct walk *walk, int dir_fd)
{
	struct manifest damaged;
	struct report report = { "" };
	bool salvaged;
	int err = manifest_open(&walk->manifest, dir_fd, false, &report);

	if (err == -EPROTONOSUPPORT || err == -ENOMEM)
		return err;
	if (!err)
		return 0;
	engine_found_in_manifest(walk->hooks, err == -ENOENT ? "the manifest is missing" : report.text);
	salvaged = manifest_salvage(&damaged, dir_fd) == 0;
	err = engine_survey(dir_fd, salvaged ? &damaged : NULL, &walk->manifest);
	if (salvaged)
		manifest_close(&damaged);
	return err;
}

static void forget_layer(const struct walk *walk, uint64_t layer_id)
{
	int fd;

	if (open_layer_file(walk, layer_id, &fd) == 0)
		io_forget(fd);
	io_close(fd);
}

static void forget_layers(const struct walk *walk)
{
	for (uint32_t r = 0; r < walk->manifest.run_count; r++) {
		const struct manifest_run *run = &walk->manifest.runs[r];

		if (!run->level)
			forget_layer(walk, run->run_id);
		for (uint32_t i = 0; i < run->layer_count; i++)
			forget_layer(walk, manifest_run_layers(run)[i].layer_id);
	}
	for (uint32_t i = 0; i < walk->manifest.open_count; i++)
		forget_layer(walk, walk->manifest.open_ids[i]);
}

static void prefetch_run(const struct walk *walk, uint32_t at)
{
	const struct manifest_run *run;

	if (at >= walk->manifest.run_count)
		return;
	run = &walk->manifest.runs[at];
	if (!run->level)
		prefetch_file(walk, run->run_id, run->file_bytes);
	else if (run->layer_count)
		prefetch_file(walk, manifest_run_layers(run)->layer_id,
			      manifest_run_layers(run)->file_bytes);
}

static int check_layers(struct walk *walk)
{
	const struct manifest *manifest = &walk->manifest;
	int err = 0;

	walk->chain = manifest->store.seed;
	walk->durable = manifest->durable;
	for (uint32_t i = 0; i < manifest->run_count && !err; i++) {
		prefetch_run(walk, i + 1);
		err = check_run(walk, &manifest->runs[i]);
	}
	if (manifest->durable.value > walk->durable.value)
		walk->durable = manifest->durable;
	if (!err)
		err = check_open_end(walk);
	if (!err)
		check_end(walk);
	return err;
}

int engine_check(int dir_fd, bool forget, const struct check_hooks *hooks,
		 struct engine_check_result *result_out)
{
	struct walk walk = { .hooks = hooks, .result = result_out, .layers_fd = -1 };
	int err;

	memset(result_out, 0, sizeof(*result_out));
	walk.manifest.fd = -1;
	err = learn_manifest(&walk, dir_fd);
	if (err == -EUCLEAN)
		return 0;               /* told; and nothing tells what else there is */
	if (!err)
		err = io_open(dir_fd, LAYERS_NAME, O_RDONLY | O_DIRECTORY, 0, &walk.layers_fd);
	if (err == -ENOENT && walk.manifest.run_count + walk.manifest.open_count == 0)
		engine_found_in_manifest(walk.hooks, "the directory 'layers' is missing");
	if (!err && forget)
		forget_layers(&walk);
	if (!err)
		err = check_layers(&walk);
	if (!err)
		err = io_list(walk.layers_fd, ".", check_unnamed, &walk);
	io_close(walk.layers_fd);
	manifest_close(&walk.manifest);
	return err;
}

struct size_sum {
	int layers_fd;
	uint64_t bytes;
};

static int add_size(void *context, const char *name)
{
	struct size_sum *sum = context;
	uint64_t layer_id, size;
	int fd;

	if (layer_name_parse(name, &layer_id))
		return 0;
	if (io_open(sum->layers_fd, name, O_RDONLY, 0, &fd) == 0 && io_size(fd, &size) == 0)
		sum->bytes += size;
	io_close(fd);
	return 0;
}

uint64_t engine_check_bytes(int dir_fd)
{
	struct size_sum sum = { .layers_fd = -1 };

	if (io_open(dir_fd, LAYERS_NAME, O_RDONLY | O_DIRECTORY, 0, &sum.layers_fd) == 0)
		(void)io_list(sum.layers_fd, ".", add_size, &sum);
	io_close(sum.layers_fd);
	return sum.bytes;
}
