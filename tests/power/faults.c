/*
 * Every k-th fault: a workload is run again and again, and in each run the k-th call that
 * can fail so fails, once or from then on, until a run meets no fault. What must hold is in
 * tests/support/fault_run.h.
 */
#include <inttypes.h>
#include <signal.h>
#include <sys/prctl.h>

#include "fault_run.h"
#include "rcu_at_once.h"

struct disk_fault {
	enum sim_fault_kind kind;
	uint64_t at;
	bool persistent;
};

static void disk_arm(void *context, struct sim_disk *disk)
{
	const struct disk_fault *fault = context;

	sim_disk_fail(disk, fault->kind, fault->at, fault->persistent);
}

static uint64_t disk_disarm(void *context, struct sim_disk *disk)
{
	uint64_t met = sim_disk_faults_met(disk);

	(void)context;
	sim_disk_fail(disk, SIM_FAULT_NONE, 0, false);
	return met;
}

static void every_call_fails(const char *what, enum sim_fault_kind kind, bool persistent,
			     uint64_t stride)
{
	struct disk_fault fault = { kind, test_seed() % stride, persistent };
	struct fault_source source = { disk_arm, disk_disarm, &fault, kind == SIM_FAULT_ENOSPC };
	struct prng prng = { test_seed() };
	struct fault_counts counts = { 0 };

	while (fault_run(&source, what, fault.at, &prng, &counts))
		fault.at += stride;
	print_message("%s, %s: %" PRIu64 " runs, %" PRIu64 " faults, %" PRIu64
		      " operations failed, %" PRIu64 " done, %" PRIu64
		      " refused after a failed sync, %" PRIu64 " power cuts behind, %" PRIu64
		      " left nothing behind\n", what,
		      persistent ? "from the k-th call on" : "the k-th call", counts.runs,
		      counts.faults, counts.ops_failed, counts.ops_done, counts.syncs_refused,
		      2 * counts.runs, counts.tidy);
	assert_true(kind != SIM_FAULT_ENOSPC || counts.tidy);
	assert_true(counts.runs > 40 / stride || stride > 8);
	if (kind == SIM_FAULT_EINTR || kind == SIM_FAULT_SHORT)
		assert_int_equal(counts.ops_failed, 0);
	else
		assert_true(counts.ops_failed > 0);
}

#define FAULT_TEST(name, kind) \
	static void name##_anywhere(void **state) \
	{ \
		const char *size = getenv("VARVE_TEST_SIZE"); \
		uint64_t stride = size && !strcmp(size, "fast") ? 7 : 1; \
\
		(void)state; \
		every_call_fails(#name, kind, false, stride); \
		every_call_fails(#name, kind, true, stride); \
	}

/* The same with merges and garbage collection. Which call is the k-th depends there on the order in
 * which threads came; one of eight is taken, another time another. */
#define MERGE_TEST(name, kind) \
	static void name##_while_history_is_merged(void **state) \
	{ \
		const char *size = getenv("VARVE_TEST_SIZE"); \
		uint64_t stride = size && !strcmp(size, "fast") ? 31 : size && !strcmp(size, "long") ? 1 : 8; \
\
		(void)state; \
		load_merge_eagerly(true); \
		every_call_fails(#name " while merging", kind, false, stride); \
		every_call_fails(#name " while merging", kind, true, stride); \
		load_merge_eagerly(false); \
	}

FAULT_TEST(an_io_error, SIM_FAULT_EIO)
FAULT_TEST(a_full_disk, SIM_FAULT_ENOSPC)
FAULT_TEST(an_interrupted_call, SIM_FAULT_EINTR)
FAULT_TEST(a_short_count, SIM_FAULT_SHORT)
FAULT_TEST(no_descriptor_or_mapping, SIM_FAULT_NO_HANDLE)
MERGE_TEST(an_io_error, SIM_FAULT_EIO)
MERGE_TEST(a_full_disk, SIM_FAULT_ENOSPC)
MERGE_TEST(an_interrupted_call, SIM_FAULT_EINTR)
MERGE_TEST(a_short_count, SIM_FAULT_SHORT)
MERGE_TEST(no_descriptor_or_mapping, SIM_FAULT_NO_HANDLE)

static void too_long(int number)
{
	(void)number;
	abort();
}

static void no_log(const char *line)
{
	(void)line;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_io_error_anywhere),
		cmocka_unit_test(a_full_disk_anywhere),
		cmocka_unit_test(an_interrupted_call_anywhere),
		cmocka_unit_test(a_short_count_anywhere),
		cmocka_unit_test(no_descriptor_or_mapping_anywhere),
		cmocka_unit_test(an_io_error_while_history_is_merged),
		cmocka_unit_test(a_full_disk_while_history_is_merged),
		cmocka_unit_test(an_interrupted_call_while_history_is_merged),
		cmocka_unit_test(a_short_count_while_history_is_merged),
		cmocka_unit_test(no_descriptor_or_mapping_while_history_is_merged),
	};

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	rcu_at_once();
	cut_place_install();
	signal(SIGALRM, too_long);
	log_set_sink(no_log);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
