#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim_disk_internal.h"
#include "test_support.h"

/* ---- watched memory: where a store may fault ---- */

#define WATCHED_MAX 1024u
static _Atomic(struct sim_memory *) watched[WATCHED_MAX];
static struct sigaction handled_before;

static void spin_lock(struct sim_memory *memory)
{
	while (atomic_flag_test_and_set_explicit(&memory->spin, memory_order_acquire))
		;
}

static void spin_unlock(struct sim_memory *memory)
{
	atomic_flag_clear_explicit(&memory->spin, memory_order_release);
}

static bool note_store(struct sim_memory *memory, const uint8_t *address)
{
	uint64_t offset;

	if (address < memory->base || address >= memory->base + SIM_FILE_BYTES_MAX)
		return false;
	offset = (uint64_t)(address - memory->base);
	/* Beyond the file's last page: SIGBUS on a real disk. */
	if (offset / SIM_PAGE_BYTES * SIM_PAGE_BYTES >= memory->size_bytes)
		return false;
	offset -= offset % SIM_PAGE_BYTES;
	spin_lock(memory);
	memory->dirty[offset / SIM_PAGE_BYTES] = 1;
	mprotect(memory->base + offset, SIM_PAGE_BYTES, PROT_READ | PROT_WRITE);
	spin_unlock(memory);
	return true;
}

static void store_met(int number, siginfo_t *info, void *context)
{
	(void)context;
	for (unsigned i = 0; i < WATCHED_MAX; i++) {
		struct sim_memory *memory = atomic_load(&watched[i]);

		if (memory && note_store(memory, info->si_addr))
			return;
	}
	sigaction(number, &handled_before, NULL);
}

/* Each time: cmocka sets a handler of its own at the start of each test. */
static void handler_install(void)
{
	struct sigaction action = { .sa_sigaction = store_met, .sa_flags = SA_SIGINFO | SA_NODEFER };
	struct sigaction now;

	sigaction(SIGSEGV, NULL, &now);
	if (now.sa_sigaction == store_met)
		return;
	handled_before = now;
	sigaction(SIGSEGV, &action, NULL);
}

static void protect(struct sim_memory *memory, uint64_t from_bytes, uint64_t to_bytes,
		    int protection)
{
	if (from_bytes < to_bytes)
		require(!mprotect(memory->base + from_bytes, to_bytes - from_bytes, protection));
}

static uint64_t page_end(uint64_t size_bytes)
{
	return (size_bytes + SIM_PAGE_BYTES - 1) / SIM_PAGE_BYTES * SIM_PAGE_BYTES;
}

void sim_memory_watch(struct sim_memory *memory)
{
	unsigned i = 0;

	handler_install();
	if (memory->writable_maps++)
		return;
	while (atomic_load(&watched[i]))
		require(++i < WATCHED_MAX);
	spin_lock(memory);
	memset(memory->dirty, 0, SIM_PAGES_PER_FILE);
	protect(memory, 0, page_end(memory->size_bytes), PROT_READ);
	spin_unlock(memory);
	atomic_store(&watched[i], memory);
}

void sim_memory_unwatch(struct sim_memory *memory)
{
	require(memory->writable_maps);
	if (--memory->writable_maps)
		return;
	for (unsigned i = 0; i < WATCHED_MAX; i++)
		if (atomic_load(&watched[i]) == memory)
			atomic_store(&watched[i], NULL);
	protect(memory, 0, page_end(memory->size_bytes), PROT_READ | PROT_WRITE);
}

/* ---- a file's bytes ---- */

struct sim_memory *sim_memory_new(const struct sim_inode *inode)
{
	struct sim_memory *memory = calloc(1, sizeof(*memory));

	require(memory && inode->size_bytes <= SIM_FILE_BYTES_MAX);
	memory->known = calloc(SIM_PAGES_PER_FILE, sizeof(*memory->known));
	memory->dirty = calloc(SIM_PAGES_PER_FILE, 1);
	memory->base = mmap(NULL, SIM_FILE_BYTES_MAX, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	require(memory->known && memory->dirty && memory->base != MAP_FAILED);
	atomic_flag_clear(&memory->spin);
	sim_memory_resize(memory, inode->size_bytes);
	for (uint32_t i = 0; i < inode->page_count; i++) {
		if (!inode->pages[i])
			continue;
		memory->known[i] = sim_page_ref(inode->pages[i]);
		memory->known_end = i + 1;
		memcpy(memory->base + (uint64_t)i * SIM_PAGE_BYTES, inode->pages[i]->bytes,
		       SIM_PAGE_BYTES);
	}
	return memory;
}

void sim_memory_free(struct sim_memory *memory)
{
	if (!memory)
		return;
	for (uint32_t i = 0; i < memory->known_end; i++)
		sim_page_unref(memory->known[i]);
	munmap(memory->base, SIM_FILE_BYTES_MAX);
	free(memory->known);
	free(memory->dirty);
	free(memory);
}

void sim_memory_touch(struct sim_memory *memory, uint64_t from_bytes, uint64_t to_bytes)
{
	uint64_t first = from_bytes / SIM_PAGE_BYTES, end = page_end(to_bytes) / SIM_PAGE_BYTES;

	spin_lock(memory);
	memset(memory->dirty + first, 1, end - first);
	protect(memory, first * SIM_PAGE_BYTES, end * SIM_PAGE_BYTES, PROT_READ | PROT_WRITE);
	spin_unlock(memory);
}

/* What is cut off reads as zeros when the file grows again. What lies beyond the
 * last page can't be touched. */
void sim_memory_resize(struct sim_memory *memory, uint64_t size_bytes)
{
	uint64_t before = page_end(memory->size_bytes), now = page_end(size_bytes);
	int protection = memory->writable_maps ? PROT_READ : PROT_READ | PROT_WRITE;

	require(size_bytes <= SIM_FILE_BYTES_MAX);
	if (size_bytes < memory->size_bytes && size_bytes % SIM_PAGE_BYTES) {
		sim_memory_touch(memory, size_bytes, size_bytes + 1);
		memset(memory->base + size_bytes, 0, now - size_bytes);
	}
	spin_lock(memory);
	memory->size_bytes = size_bytes;
	if (now < before) {
		madvise(memory->base + now, before - now, MADV_DONTNEED);
		protect(memory, now, before, PROT_NONE);
		memset(memory->dirty + now / SIM_PAGE_BYTES, 0, (before - now) / SIM_PAGE_BYTES);
	} else {
		protect(memory, before, now, protection);
	}
	spin_unlock(memory);
	for (uint32_t i = (uint32_t)(now / SIM_PAGE_BYTES); i < memory->known_end; i++) {
		sim_page_unref(memory->known[i]);
		memory->known[i] = NULL;
	}
	if (memory->known_end > now / SIM_PAGE_BYTES)
		memory->known_end = (uint32_t)(now / SIM_PAGE_BYTES);
}

static uint8_t sectors_changed(const uint8_t *now, const uint8_t *before)
{
	uint8_t sectors = 0;

	for (unsigned i = 0; i < SIM_SECTORS_PER_PAGE; i++)
		if (memcmp(now + i * SIM_SECTOR_BYTES, before + i * SIM_SECTOR_BYTES,
			   SIM_SECTOR_BYTES) != 0)
			sectors |= (uint8_t)(1u << i);
	return sectors;
}

/* Others may store into the page meanwhile: what is taken is one copy of it. */
static void collect_page(struct sim_memory *memory, uint32_t number, struct sim_write *write)
{
	uint8_t bytes[SIM_PAGE_BYTES];
	struct sim_page *page;
	uint8_t sectors;

	memcpy(bytes, memory->base + (uint64_t)number * SIM_PAGE_BYTES, SIM_PAGE_BYTES);
	sectors = sectors_changed(bytes, sim_page_bytes(memory->known[number]));
	if (!sectors)
		return;
	page = sim_page_new(bytes);
	sim_page_unref(memory->known[number]);
	memory->known[number] = page;
	if (number >= memory->known_end)
		memory->known_end = number + 1;
	write->pages = realloc(write->pages, (write->page_count + 1) * sizeof(*write->pages));
	require(write->pages);
	write->pages[write->page_count++] = (struct sim_write_page){ sim_page_ref(page), number,
								    sectors };
}

bool sim_memory_collect(struct sim_memory *memory, struct sim_write *write_out)
{
	uint32_t page_count = (uint32_t)(page_end(memory->size_bytes) / SIM_PAGE_BYTES);

	*write_out = (struct sim_write){ .kind = SIM_WRITE_DATA };
	for (uint32_t i = 0; i < page_count; i++) {
		const uint8_t *next = memchr(memory->dirty + i, 1, page_count - i);

		if (!next)
			break;
		i = (uint32_t)(next - memory->dirty);
		spin_lock(memory);
		memory->dirty[i] = 0;
		if (memory->writable_maps)
			protect(memory, (uint64_t)i * SIM_PAGE_BYTES, (i + UINT64_C(1)) * SIM_PAGE_BYTES,
				PROT_READ);
		spin_unlock(memory);
		collect_page(memory, i, write_out);
	}
	return write_out->page_count > 0;
}
