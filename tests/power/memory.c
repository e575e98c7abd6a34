/*
 * Out of memory at each allocation of the core: the linker puts the functions below in
 * front of malloc and its kin (CMakeLists.txt), and the k-th call fails, once or from then
 * on, until a run meets none. What must hold is in tests/support/fault_run.h.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "fault_run.h"
#include "rcu_at_once.h"

static _Atomic bool armed;
static _Atomic uint64_t seen, met;
static uint64_t fail_at;
static bool persistent;

/* What the simulation and the test allocate for themselves is not counted. */
static bool is_refused(void)
{
	uint64_t number;

	if (!armed || sim_disk_busy)
		return false;
	number = seen++;
	if (number < fail_at || (number > fail_at && !persistent))
		return false;
	met++;
	return true;
}

/* What the linker calls the two sides. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);

static void *refused(void)
{
	errno = ENOMEM;
	return NULL;
}

void *__wrap_malloc(size_t size)
{
	return is_refused() ? refused() : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return is_refused() ? refused() : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	return is_refused() ? refused() : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return is_refused() ? refused() : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
	return is_refused() ? refused() : __real_strdup(text);
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (!is_refused())
		return __real_mmap(at, size, protection, flags, fd, offset);
	errno = ENOMEM;
	return MAP_FAILED;
}

static void memory_arm(void *context, struct sim_disk *disk)
{
	(void)context;
	(void)disk;
	seen = met = 0;
	armed = true;
}

static uint64_t memory_disarm(void *context, struct sim_disk *disk)
{
	(void)context;
	(void)disk;
	armed = false;
	return met;
}

static void every_allocation_fails(bool from_then_on, uint64_t stride)
{
	struct fault_source source = { memory_arm, memory_disarm, NULL, false };
	struct prng prng = { test_seed() };
	struct fault_counts counts = { 0 };

	persistent = from_then_on;
	for (fail_at = 0;
	     fault_run(&source, "out of memory", fail_at, &prng, &counts); fail_at += stride)
		;
	print_message("%s: %" PRIu64 " runs, %" PRIu64 " allocations failed, %" PRIu64
		      " operations failed, %" PRIu64 " done\n",
		      persistent ? "from the k-th allocation on" : "the k-th allocation",
		      counts.runs, counts.faults, counts.ops_failed, counts.ops_done);
	assert_true(counts.runs > 10 && counts.ops_failed > 10);
}

static uint64_t stride_of_run(void)
{
	const char *size = getenv("VARVE_TEST_SIZE");

	return size && !strcmp(size, "fast") ? 7 : 1;
}

static void no_memory_once_anywhere(void **state)
{
	(void)state;
	every_allocation_fails(false, stride_of_run());
}

static void no_memory_from_anywhere_on(void **state)
{
	(void)state;
	every_allocation_fails(true, stride_of_run());
}

static void no_memory_while_history_is_merged(void **state)
{
	const char *size = getenv("VARVE_TEST_SIZE");
	uint64_t stride = size && !strcmp(size, "long") ? 1 : 12 * stride_of_run();

	(void)state;
	load_merge_eagerly(true);
	every_allocation_fails(false, stride);
	every_allocation_fails(true, stride);
	load_merge_eagerly(false);
}

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
		cmocka_unit_test(no_memory_once_anywhere),
		cmocka_unit_test(no_memory_from_anywhere_on),
		cmocka_unit_test(no_memory_while_history_is_merged),
	};

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	rcu_at_once();
	cut_place_install();
	signal(SIGALRM, too_long);
	log_set_sink(no_log);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
