#include "ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bar.h"
#include "client.h"
#include "command.h"
#include "member.h"
#include "operation.h"
#include "store.h"

struct asking {
	struct bar bar;
	ask_fn *fn;
	void *context;
};

static void take(struct asking *asking, const json_t *object)
{
	if (json_object_get(object, "begin")) {
		bar_begin(&asking->bar, member_number(object, "begin"));
	} else if (json_object_get(object, "bytes")) {
		bar_add(&asking->bar, member_number(object, "bytes"));
	} else {
		bar_clear(&asking->bar);
		asking->fn(asking->context, object);
	}
}

/*
 * By the daemon
 */

/* The last object of an answer. */
static bool is_last(const json_t *object)
{
	return json_object_get(object, "count") || json_object_get(object, "window") ||
	       json_object_get(object, "gc") || json_object_get(object, "compact");
}

static int ask_daemon(struct asking *asking, FILE *answer)
{
	json_t *object;
	int err;

	while ((err = client_next(answer, &object)) == 0) {
		bool last = is_last(object);

		take(asking, object);
		json_decref(object);
		if (last)
			return STATUS_OK;
	}
	bar_clear(&asking->bar);
	if (err == -ENODATA)
		return fail("the daemon ended the answer early; is it still mounted?");
	return STATUS_FAILED;
}

/*
 * By ourselves
 */

static int on_object(void *context, json_t *object)
{
	struct asking *asking = context;

	if (!object)
		return -ENOMEM;
	take(asking, object);
	json_decref(object);
	return 0;
}

static void on_progress(void *context, json_t *object)
{
	on_object(context, object);
}

static bool on_question(void *context)
{
	return false;
}

static int ask_ourselves(struct asking *asking, const char *path, const json_t *request,
			 enum ask_how how)
{
	const struct store_options options = {
		.holder = "a varve command",
		.read_only = how == ASK_READS,
		.no_compaction = how != ASK_MERGES,
	};
	const struct operation_sink sink = {on_object, on_progress, on_question, asking};
	struct report report = {""};
	struct store *store;
	int err, close_err;

	if (store_open(path, &options, &report, &store) != 0)
		return fail("%s", report.text);
	err = operation_run(store, request, &sink, &report);
	bar_clear(&asking->bar);
	close_err = store_close(store);
	if (err)
		return fail("%s", report.text[0] ? report.text : strerror(-err));
	if (close_err)
		return fail("the last sync of %s failed: %s; look at the disk", path,
			    strerror(-close_err));
	return STATUS_OK;
}

int ask(const char *path, json_t *request, enum ask_how how, const char *bar_text, ask_fn *fn,
	void *context)
{
	struct asking asking = {.bar = bar_make(bar_text), .fn = fn, .context = context};
	char store[PATH_MAX];
	FILE *answer;
	int err, status;

	if (!request)
		return fail("no memory left");
	if (client_store_of(path, store) != 0)
		snprintf(store, sizeof(store), "%s", path);
	err = client_request(store, json_incref(request), &answer);
	if (!err) {
		status = ask_daemon(&asking, answer);
		fclose(answer);
	} else if (err == -EACCES || err == -EPERM) {
		status = fail("%s: %s; ask as the user who owns or mounted the store", store,
			      strerror(-err));
	} else {
		status = ask_ourselves(&asking, store, request, how);
	}
	json_decref(request);
	return status;
}
