#include "log_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checksum.h"

#define TELL_BYTES (1u << 20)

void finding_layer_file(struct finding *finding, uint64_t layer_id)
{
	char name[LAYER_NAME_BYTES];

	layer_name(layer_id, name);
	snprintf(finding->file, sizeof(finding->file), "layers/%s", name);
	finding->layer_id = layer_id;
}

uint64_t version_facts_hash(const struct version_facts *facts)
{
	const uint64_t words[] = {
		facts->key.ino,
		facts->key.sub,
		facts->lsn << 32 | facts->offset,
		(uint64_t)facts->size_bytes << 16 | (uint64_t)facts->form << 8 | facts->weight,
		facts->checksum,
	};

	return checksum(words, sizeof(words), 0);
}

static struct lsn lsn_behind(const struct log_check *check, uint64_t file_offset)
{
	return lsn_make(check->target->start.value + file_offset - LAYER_HEADER_BYTES);
}

bool log_check_lost(const struct log_check *check, uint64_t lsn)
{
	uint64_t end = lsn + LAYER_HEADER_BYTES;

	for (uint32_t i = 0; i < check->stretch_count; i++)
		if (!check->stretches[i].proven && check->stretches[i].from < end &&
		    end <= check->stretches[i].to)
			return true;
	return false;
}

static void add_stretch(struct log_check *check, uint64_t from, uint64_t to, bool proven)
{
	struct log_stretch *last = check->stretch_count
					   ? &check->stretches[check->stretch_count - 1]
					   : NULL;

	check->result->log_bad = true;
	if (!proven)
		check->result->log_lost = true;
	if (last && (check->stretch_count == LOG_STRETCH_MAX ||
		     (last->to == from && last->proven == proven))) {
		last->to = to;
		last->proven = last->proven && proven;
		return;
	}
	check->stretches[check->stretch_count++] = (struct log_stretch){ from, to, proven };
}

static bool payload_good(const struct log_check *check, const struct batch_view *batch,
			 struct lsn lsn, const struct batch_view_entry *entry)
{
	uint64_t seed = checksum_version_seed(check->target->store->seed, entry->key, lsn,
					      entry->form, entry->weight);

	return checksum(batch->bytes + entry->payload_at, entry->payload_bytes, seed) ==
	       entry->checksum;
}

static void found_bad_payload(struct log_check *check, uint64_t at, struct lsn lsn,
			      const struct batch_view_entry *entry)
{
	struct finding finding = {
		.kind = FINDING_VERSION,
		.offset = at + entry->payload_at,
		.size_bytes = entry->payload_bytes,
		.key = entry->key,
		.from = lsn,
		.until = lsn_make(FINDING_OPEN_END),
	};

	finding_layer_file(&finding, check->target->layer_id);
	check->result->version_bad = true;
	check_found(check->hooks, &finding, "the checksum of this version is wrong");
}

/* The versions of a batch whose heads are believed; @verified: its payloads are, too. */
static void take_batch(struct log_check *check, const struct batch_view *batch, uint64_t at,
		       bool verified)
{
	struct lsn lsn = lsn_behind(check, at + batch->size_bytes);
	struct batch_view view = *batch;
	struct batch_view_entry entry;

	check->result->batch_count++;
	while (batch_view_next(&view, &entry) == 0) {
		struct version_facts facts = {
			.key = entry.key,
			.lsn = lsn.value - check->target->start.value,
			.offset = at + entry.payload_at,
			.size_bytes = entry.payload_bytes,
			.form = entry.form,
			.weight = entry.weight,
			.checksum = entry.checksum,
		};

		check->digest += version_facts_hash(&facts);
		check->version_count++;
		if (entry.key.ino > check->ino_max)
			check->ino_max = entry.key.ino;
		if (!verified && !payload_good(check, batch, lsn, &entry))
			found_bad_payload(check, at, lsn, &entry);
	}
}

/* The batch at @at, if its heads make sense. 0; 1; -ENOMEM. */
static int parse_at(struct log_check *check, uint64_t at, struct batch_view *batch_out)
{
	struct get_cursor c;
	const uint8_t *bytes;
	uint32_t size;
	int err;

	if (check->end - at < BATCH_HEADER_BYTES)
		return 1;
	err = stream_get(check->stream, at, BATCH_HEADER_BYTES, &bytes);
	if (err)
		return err;
	c = get_cursor(bytes + 8, 4);
	size = get_u32(&c);
	if (size < BATCH_HEADER_BYTES || size > check->end - at)
		return 1;
	err = stream_get(check->stream, at, size, &bytes);
	return err ? err : batch_view_parse(bytes, size, batch_out);
}

/* Every payload shows by its checksum that it is the one the heads speak of, at this place. */
static bool is_proven(const struct log_check *check, const struct batch_view *batch, uint64_t at)
{
	struct lsn lsn = lsn_behind(check, at + batch->size_bytes);
	struct batch_view view = *batch;
	struct batch_view_entry entry;

	if (!batch->entry_count)
		return false;
	while (batch_view_next(&view, &entry) == 0)
		if (!payload_good(check, batch, lsn, &entry))
			return false;
	return true;
}

static int tell(struct log_check *check, bool all)
{
	uint64_t bytes = check->at - check->told;

	if (bytes < TELL_BYTES && !all)
		return 0;
	check->told = check->at;
	return check_progress(check->hooks, bytes);
}

/* Behind @from, whose batch does not follow: the next that shows what it is. */
static int find_proven(struct log_check *check, uint64_t from, struct batch_view *batch_out,
		       uint64_t *at_out)
{
	int err = 1;

	for (*at_out = from; *at_out < check->end; ++*at_out) {
		err = parse_at(check, *at_out, batch_out);
		if (err < 0 || (err == 0 && is_proven(check, batch_out, *at_out)))
			break;
		err = 1;
		if (*at_out % TELL_BYTES == 0)
			err = check_progress(check->hooks, 0) ? -ECANCELED : 1;
		if (err < 0)
			break;
	}
	return err;
}

static void step_over(struct log_check *check, const struct batch_view *batch, uint64_t at,
		      uint64_t chain_or)
{
	check->chain = batch->chain;
	check->chain_or = chain_or;
	check->at = at + batch->size_bytes;
}

/* The batch at check->at does not follow: find where to go on. */
static int resync(struct log_check *check)
{
	uint64_t from = check->at, at;
	struct batch_view batch;
	int err = find_proven(check, from, &batch, &at);

	if (err < 0)
		return err;
	if (err) {
		add_stretch(check, from, check->end, false);
		check->at = check->end;
		check->chain = check->chain_or = check->target->chain_end;
		return 0;
	}
	if (at > from)
		add_stretch(check, from, at, false);
	else
		add_stretch(check, at, at + batch.size_bytes, true);
	take_batch(check, &batch, at, true);
	step_over(check, &batch, at, batch_view_chain(&batch, check->chain));
	return 0;
}

int log_check_sealed(struct log_check *check)
{
	struct batch_view batch;
	int err = 0;

	while (check->at < check->end && !err) {
		uint64_t at = check->at;

		err = parse_at(check, at, &batch);
		if (err < 0)
			return err;
		if (err == 0 && (batch_view_chain(&batch, check->chain) == batch.chain ||
				 batch_view_chain(&batch, check->chain_or) == batch.chain)) {
			take_batch(check, &batch, at, false);
			step_over(check, &batch, at, batch.chain);
		} else {
			err = resync(check);
		}
		if (!err)
			err = tell(check, false);
	}
	return err ? err : tell(check, true);
}

static void note_durable(struct log_check *check, const struct batch_view *batch, uint64_t at)
{
	uint64_t start = lsn_behind(check, at).value;

	if (batch->durable_lag != UINT32_MAX && batch->durable_lag <= start &&
	    start - batch->durable_lag > check->result->durable.value)
		check->result->durable = lsn_make(start - batch->durable_lag);
}

static bool payloads_good(struct log_check *check, const struct batch_view *batch, uint64_t at)
{
	struct lsn lsn = lsn_behind(check, at + batch->size_bytes);
	struct batch_view view = *batch;
	struct batch_view_entry entry;

	while (batch_view_next(&view, &entry) == 0) {
		if (!payload_good(check, batch, lsn, &entry)) {
			check->result->ends_in_payload = true;
			check->result->end_key = entry.key;
			return false;
		}
	}
	return true;
}

/* Its end is where it stops to make sense, as recovery has it: whether that is an end
 * or damage depends on what had been synced, which the caller knows. */
static int walk_abandoned(struct log_check *check)
{
	uint64_t durable = check->target->durable.value;
	bool whole = true, synced;
	struct batch_view batch;
	int err = 0;

	while (check->at < check->end && !err) {
		uint64_t at = check->at;

		err = parse_at(check, at, &batch);
		if (err < 0)
			return err;
		if (err || batch_view_chain(&batch, check->chain) != batch.chain)
			break;
		note_durable(check, &batch, at);
		synced = lsn_behind(check, at + batch.size_bytes).value <= durable;
		whole = whole && (synced || payloads_good(check, &batch, at));
		if (whole) {
			take_batch(check, &batch, at, !synced);
			check->result->end = lsn_behind(check, at + batch.size_bytes);
			check->result->chain_end = batch.chain;
		}
		step_over(check, &batch, at, batch.chain);
		err = tell(check, false);
	}
	return err < 0 ? err : tell(check, true);
}

/* All of it was published: it has to be whole. */
static int walk_published(struct log_check *check)
{
	struct finding finding = { .kind = FINDING_LOG, .until = lsn_make(FINDING_OPEN_END) };
	int err = log_check_sealed(check);

	if (err || !check->stretch_count)
		return err;
	finding_layer_file(&finding, check->target->layer_id);
	finding.offset = check->stretches[0].from;
	finding.size_bytes = check->stretches[check->stretch_count - 1].to - finding.offset;
	finding.from = lsn_make(lsn_behind(check, finding.offset).value + 1);
	check_found(check->hooks, &finding,
		    "batches of the open layer do not follow one another; they are lost with the "
		    "next crash or unmount: copy out what is needed first");
	return 0;
}

int log_check_open(struct log_check *check)
{
	check->result->end = check->target->start;
	check->result->chain_end = check->chain;
	return check->target->tail_bytes ? walk_published(check) : walk_abandoned(check);
}
