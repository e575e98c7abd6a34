#include "layer_check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "index_check.h"
#include "io.h"
#include "table_check.h"

/* One layer under check. */
struct layer_walk {
	struct layer_check_target target;       /* completed by what the file says */
	const struct check_hooks *hooks;
	struct layer_check_result *result;
	int fd;
	uint64_t file_bytes;            /* what there is */
	struct layer_footer footer;
	bool has_footer;
};

static void found(struct layer_walk *walk, enum finding_kind kind, uint64_t offset,
		  uint64_t size_bytes, bool harms, const char *text)
{
	struct finding finding = { .kind = kind, .offset = offset, .size_bytes = size_bytes };

	finding_layer_file(&finding, walk->target.layer_id);
	if (harms) {
		finding.from = lsn_make(walk->target.start.value + 1);
		finding.until = lsn_make(FINDING_OPEN_END);
	}
	check_found(walk->hooks, &finding, "%s", text);
}

/* 0; 1: there is nothing to be read, and it was told; -errno. */
static int open_file(struct layer_walk *walk)
{
	char name[LAYER_NAME_BYTES];
	int err;

	layer_name(walk->target.layer_id, name);
	err = io_open(walk->target.dir_fd, name, O_RDONLY, 0, &walk->fd);
	if (!err)
		err = io_size(walk->fd, &walk->file_bytes);
	if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err;
	if (err) {
		walk->result->missing = true;
		found(walk, FINDING_FILE, 0, 0, true,
		      err == -ENOENT ? "the file is missing" : strerror(-err));
		return 1;
	}
	if (walk->target.sealed && walk->file_bytes != walk->target.file_bytes) {
		found(walk, FINDING_FILE, walk->target.file_bytes, 0, false,
		      walk->file_bytes < walk->target.file_bytes
			      ? "the file is cut short"
			      : "the file is longer than the manifest says");
		walk->result->index_bad = true;
	}
	/* An open one is mapped: it has whole blocks. */
	if (!walk->target.sealed && !walk->target.tail_bytes &&
	    (walk->file_bytes % LAYER_BLOCK_BYTES || walk->file_bytes > LAYER_SIZE_MAX ||
	     walk->file_bytes < LAYER_HEADER_BYTES + LAYER_BLOCK_BYTES))
		found(walk, FINDING_FILE, 0, walk->file_bytes, true,
		      "the size of the file is that of no layer");
	return 0;
}

static const char *header_fault(const struct layer_walk *walk, int err,
				const struct layer_header *header)
{
	if (err == -EXDEV)
		return "the header is of another store";
	if (err == -EPROTONOSUPPORT)
		return "the header is of a newer format: use a newer varve";
	if (err == 1)
		return "the header is missing: zeros are in its place";
	if (err)
		return "the header is damaged";
	if (header->layer_id != walk->target.layer_id)
		return "the header is of another layer";
	if (walk->target.sealed && header->start.value != walk->target.start.value)
		return "the header says another start than the manifest";
	if (walk->target.chain_known && (header->start.value != walk->target.start.value ||
					 header->chain_start != walk->target.chain_start))
		return "the layer does not follow the one before";
	return NULL;
}

static int read_header(struct layer_walk *walk)
{
	uint8_t bytes[LAYER_HEADER_BYTES];
	struct layer_header header = { 0 };
	const char *fault;
	int err = io_read(walk->fd, bytes, sizeof(bytes), 0);

	if (err && err != -EUCLEAN && err != -EIO)
		return err;
	if (!err)
		err = layer_header_decode(bytes, walk->target.store, &header);
	walk->result->started = walk->target.sealed || err == 0;
	/* A spare: nothing was ever written to it. */
	if (err == 1 && !walk->target.sealed && !walk->target.tail_bytes)
		return 0;
	fault = header_fault(walk, err, &header);
	if (!err && !walk->target.sealed && !walk->target.tail_bytes && fault &&
	    header.layer_id == walk->target.layer_id) {
		/* One that does not follow counts as a spare. */
		walk->result->started = false;
		fault = NULL;
	}
	if (fault) {
		walk->result->header_bad = true;
		walk->result->started = walk->target.sealed;
		found(walk, FINDING_HEADER, 0, LAYER_HEADER_BYTES, true, fault);
	} else if (!walk->target.chain_known) {
		walk->target.start = header.start;
		walk->target.chain_start = header.chain_start;
		walk->target.chain_known = true;
	}
	return 0;
}

static int read_footer(struct layer_walk *walk)
{
	uint8_t block[LAYER_BLOCK_BYTES];
	const struct layer_check_target *target = &walk->target;
	struct layer_footer *footer = &walk->footer;
	int err;

	err = target->file_bytes < LAYER_HEADER_BYTES + LAYER_BLOCK_BYTES
		      ? -EUCLEAN
		      : io_read(walk->fd, block, sizeof(block), target->file_bytes - sizeof(block));
	if (!err)
		err = layer_footer_decode(block, target->store, target->layer_id,
					  target->file_bytes, footer);
	if (err && err != -EUCLEAN && err != -EIO)
		return err;
	if (!err && (footer->start.value != target->start.value ||
		     footer->end.value != target->end.value ||
		     footer->chain_end != target->chain_end ||
		     (target->chain_known && footer->chain_start != target->chain_start)))
		err = -EUCLEAN;
	if (err) {
		walk->result->index_bad = true;
		found(walk, FINDING_INDEX, target->file_bytes - LAYER_BLOCK_BYTES,
		      LAYER_BLOCK_BYTES, true, "the footer is damaged, so nothing in the layer is found");
		return 0;
	}
	walk->has_footer = true;
	if (!target->chain_known) {
		walk->target.chain_start = footer->chain_start;
		walk->target.chain_known = true;
	}
	return 0;
}

static void found_stretch(struct layer_walk *walk, const struct log_stretch *stretch)
{
	struct finding finding = { .kind = FINDING_LOG, .offset = stretch->from,
				   .size_bytes = stretch->to - stretch->from };
	uint64_t from = walk->target.start.value + stretch->from - LAYER_HEADER_BYTES;

	finding_layer_file(&finding, walk->target.layer_id);
	if (stretch->proven) {
		check_found(walk->hooks, &finding, "the chain of the log is broken here; what it "
			    "holds can be read all the same");
	} else if (!walk->result->index_bad) {
		check_found(walk->hooks, &finding, "heads of the log are damaged; the index leads "
			    "to what they spoke of, so it can be read all the same");
	} else {
		finding.from = lsn_make(from + 1);
		finding.until = lsn_make(FINDING_OPEN_END);
		check_found(walk->hooks, &finding, "heads of the log are damaged, and so is the "
			    "index: what was changed here is not known");
	}
}

static void found_unreadable(struct layer_walk *walk, struct stream *stream)
{
	uint64_t at, size;

	while (stream_next_bad(stream, &at, &size) == 0)
		found(walk, FINDING_FILE, at, size, false, "the disk can't read this");
}

static int walk_sealed(struct layer_walk *walk, struct log_check *log)
{
	uint64_t log_end = LAYER_HEADER_BYTES + walk->target.end.value - walk->target.start.value;
	uint64_t stream_end = walk->file_bytes < walk->target.file_bytes ? walk->file_bytes
									 : walk->target.file_bytes;
	bool links;
	int err;

	if (log_end > stream_end) {
		/* Cut short within the log: the rest counts as damaged. */
		log->end = stream_end;
	}
	err = stream_open(walk->fd, LAYER_HEADER_BYTES, stream_end, &log->stream);
	if (err)
		return err;
	err = log_check_sealed(log);
	links = log->chain == walk->target.chain_end || log->chain_or == walk->target.chain_end;
	if (!err && log_end > stream_end) {
		walk->result->log_bad = walk->result->log_lost = true;
		if (log->stretch_count < LOG_STRETCH_MAX)
			log->stretches[log->stretch_count++] =
				(struct log_stretch){ stream_end, log_end, false };
	} else if (!err && !links && !walk->result->log_bad) {
		walk->result->log_bad = true;
		found(walk, FINDING_LOG, log_end, 0, false,
		      "the log does not end with the chain that the manifest says");
	}
	if (!err && walk->has_footer && stream_end == walk->target.file_bytes)
		err = index_check(&walk->footer, walk->fd, log);
	if (!err)
		err = check_progress(walk->hooks, stream_end - log->at);
	for (uint32_t i = 0; i < log->stretch_count && !err; i++)
		found_stretch(walk, &log->stretches[i]);
	found_unreadable(walk, log->stream);
	return err;
}

static int walk_open(struct layer_walk *walk, struct log_check *log)
{
	int err = stream_open(walk->fd, LAYER_HEADER_BYTES, log->end, &log->stream);

	if (!err)
		err = log_check_open(log);
	if (log->stream)
		found_unreadable(walk, log->stream);
	return err;
}

static int walk_file(struct layer_walk *walk)
{
	struct log_check log = { .target = &walk->target, .hooks = walk->hooks,
				 .result = walk->result, .at = LAYER_HEADER_BYTES,
				 .told = LAYER_HEADER_BYTES };
	int err = read_header(walk);

	if (!err && walk->target.sealed)
		err = read_footer(walk);
	if (err || !walk->result->started)
		return err;
	log.chain = log.chain_or = walk->target.chain_start;
	log.end = walk->file_bytes;
	if (walk->target.sealed)
		log.end = LAYER_HEADER_BYTES + walk->target.end.value - walk->target.start.value;
	else if (walk->target.tail_bytes && walk->target.tail_bytes < log.end)
		log.end = walk->target.tail_bytes;
	if (log.end < LAYER_HEADER_BYTES || walk->file_bytes < LAYER_HEADER_BYTES)
		return 0;
	err = walk->target.sealed ? walk_sealed(walk, &log) : walk_open(walk, &log);
	stream_close(log.stream);
	walk->result->version_count = log.version_count;
	return err;
}

/* Findings, but for those of versions that another run has by now. */
struct needed {
	const struct check_hooks *hooks;
	struct key from;
};

static void take_needed(void *context, const struct finding *finding)
{
	const struct needed *needed = context;

	if (finding->kind != FINDING_VERSION || key_compare(finding->key, needed->from) >= 0)
		needed->hooks->found(needed->hooks->context, finding);
}

static bool pass_progress(void *context, uint64_t bytes)
{
	const struct needed *needed = context;

	return check_progress(needed->hooks, bytes) == 0;
}

int layer_check(const struct layer_check_target *target, const struct check_hooks *hooks,
		struct layer_check_result *result_out)
{
	struct needed needed = { hooks, target->from };
	const struct check_hooks needed_hooks = { take_needed, pass_progress, &needed };
	struct layer_walk walk = { .target = *target, .hooks = &needed_hooks, .result = result_out,
				   .fd = -1 };
	int err;

	if (target->table)
		return table_check(target, hooks, result_out);
	memset(result_out, 0, sizeof(*result_out));
	result_out->end = target->sealed ? target->end : target->start;
	result_out->chain_end = target->sealed ? target->chain_end : target->chain_start;
	err = open_file(&walk);
	if (!err)
		err = walk_file(&walk);
	io_close(walk.fd);
	return err < 0 ? err : 0;
}
