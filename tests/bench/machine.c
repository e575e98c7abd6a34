#include "machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

#define SECTOR_BYTES 512u               /* the unit of block device counters, whatever the device */

static void processor_name(char *name, size_t size_bytes)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(name, size_bytes, "unknown processor");
	while (file && fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':');

		if (strncmp(line, "model name", 10) == 0 && colon) {
			colon[1 + strcspn(colon + 1, "\n")] = '\0';
			snprintf(name, size_bytes, "%s", colon + 2);
			break;
		}
	}
	if (file)
		fclose(file);
}

void machine_describe(char *text, size_t size_bytes)
{
	struct utsname kernel;
	char processor[128];
	double memory_bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);

	uname(&kernel);
	processor_name(processor, sizeof(processor));
	snprintf(text, size_bytes, "%ld x %s, %.0f GiB, %s %s, compiled by %s",
		 sysconf(_SC_NPROCESSORS_ONLN), processor, memory_bytes / (1 << 30), kernel.sysname,
		 kernel.release, COMPILER);
}

/* Type and source of the filesystem with device number @dev, from mountinfo. */
static void filesystem_find(dev_t dev, char *text, size_t size_bytes)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[4096], type[64], source[128];
	unsigned major_number, minor_number;

	snprintf(text, size_bytes, "unknown filesystem");
	while (file && fgets(line, sizeof(line), file)) {
		char *tail = strstr(line, " - ");

		if (tail && sscanf(line, "%*d %*d %u:%u", &major_number, &minor_number) == 2
		    && makedev(major_number, minor_number) == dev
		    && sscanf(tail, " - %63s %127s", type, source) == 2) {
			snprintf(text, size_bytes, "%s on %s", type, source);
			break;
		}
	}
	if (file)
		fclose(file);
}

void machine_disk(const char *path, char *text, size_t size_bytes)
{
	struct stat stat_buffer;
	struct statvfs space;
	char filesystem[200];

	if (stat(path, &stat_buffer) < 0 || statvfs(path, &space) < 0) {
		snprintf(text, size_bytes, "unknown");
		return;
	}
	filesystem_find(stat_buffer.st_dev, filesystem, sizeof(filesystem));
	snprintf(text, size_bytes, "%s, %.0f GiB free", filesystem,
		 (double)space.f_bavail * (double)space.f_frsize / (1 << 30));
}

double machine_load(void)
{
	double load = 0;

	return getloadavg(&load, 1) == 1 ? load : 0;
}

void machine_time_get(struct machine_time *time_out)
{
	/* user nice system idle iowait irq softirq steal; guest time is inside user */
	unsigned long long ticks[8] = { 0 };
	FILE *file = fopen("/proc/stat", "re");

	*time_out = (struct machine_time){ 0 };
	if (!file)
		return;
	if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &ticks[0], &ticks[1],
		   &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]) == 8) {
		for (unsigned i = 0; i < 8; i++)
			time_out->total += ticks[i];
		time_out->stolen = ticks[7];
	}
	fclose(file);
}

double machine_steal(const struct machine_time *before, const struct machine_time *after)
{
	uint64_t total = after->total - before->total;

	return total ? (double)(after->stolen - before->stolen) / (double)total : 0;
}

static void process_io_get(struct machine_io *io)
{
	FILE *file = fopen("/proc/self/io", "re");
	char name[32];
	unsigned long long value;

	while (file && fscanf(file, "%31[^:]: %llu\n", name, &value) == 2) {
		if (strcmp(name, "read_bytes") == 0)
			io->read_bytes = value;
		else if (strcmp(name, "write_bytes") == 0)
			io->written_bytes = value;
	}
	if (file)
		fclose(file);
}

static void disk_io_get(const char *path, struct machine_io *io)
{
	/* see Documentation/block/stat.rst; fields 5, 7 and 16 of 17 */
	unsigned long long writes, sectors, flushes;
	struct stat stat_buffer;
	char stat_path[64];
	FILE *file;

	if (stat(path, &stat_buffer) < 0)
		return;
	snprintf(stat_path, sizeof(stat_path), "/sys/dev/block/%u:%u/stat",
		 major(stat_buffer.st_dev), minor(stat_buffer.st_dev));
	file = fopen(stat_path, "re");
	if (!file)
		return;
	if (fscanf(file, "%*u %*u %*u %*u %llu %*u %llu %*u %*u %*u %*u %*u %*u %*u %*u %llu",
		   &writes, &sectors, &flushes) == 3) {
		io->disk_writes = writes;
		io->disk_written_bytes = sectors * SECTOR_BYTES;
		io->disk_flushes = flushes;
	}
	fclose(file);
}

static uint64_t timeval_ns(struct timeval time)
{
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

void machine_io_get(const char *path, struct machine_io *io_out)
{
	struct rusage usage;

	*io_out = (struct machine_io){ 0 };
	if (getrusage(RUSAGE_THREAD, &usage) == 0) {
		io_out->minor_faults = (uint64_t)usage.ru_minflt;
		io_out->cpu_ns = timeval_ns(usage.ru_utime) + timeval_ns(usage.ru_stime);
	}
	process_io_get(io_out);
	disk_io_get(path, io_out);
}

struct machine_io machine_io_since(const struct machine_io *before, const struct machine_io *after)
{
	return (struct machine_io){
		.written_bytes = after->written_bytes - before->written_bytes,
		.read_bytes = after->read_bytes - before->read_bytes,
		.minor_faults = after->minor_faults - before->minor_faults,
		.cpu_ns = after->cpu_ns - before->cpu_ns,
		.disk_writes = after->disk_writes - before->disk_writes,
		.disk_written_bytes = after->disk_written_bytes - before->disk_written_bytes,
		.disk_flushes = after->disk_flushes - before->disk_flushes,
	};
}

void machine_memory_get(struct machine_memory *memory_out)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib;
	char line[256];

	*memory_out = (struct machine_memory){ 0 };
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "VmRSS: %llu", &kib) == 1)
			memory_out->rss_bytes = kib << 10;
		else if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			memory_out->anon_bytes = kib << 10;
		else if (sscanf(line, "RssFile: %llu", &kib) == 1)
			memory_out->file_bytes = kib << 10;
	}
	if (file)
		fclose(file);
}

void machine_memory_warm(uint64_t size_bytes)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	volatile uint8_t *bytes = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		return;
	madvise((void *)bytes, size_bytes, MADV_HUGEPAGE);
	for (uint64_t at = 0; at < size_bytes; at += page_bytes)
		bytes[at] = 1;
	munmap((void *)bytes, size_bytes);
}

/* Free memory is reported in blocks of this order and above; MAX_PAGE_ORDER is 10
 * on every machine that varve runs on, so 11 means never. */
#define REPORTING_ORDER_PATH "/sys/module/page_reporting/parameters/page_reporting_order"
#define REPORTING_ORDER_NEVER 11u

static int reporting_order_swap(unsigned order, unsigned *before_out)
{
	FILE *file = fopen(REPORTING_ORDER_PATH, "r+e");
	int err = 0;

	if (!file)
		return errno == ENOENT ? 1 : -errno;
	if (fscanf(file, "%u", before_out) != 1)
		err = -EIO;
	rewind(file);
	if (!err && fprintf(file, "%u\n", order) < 0)
		err = -EIO;
	if (fclose(file) == EOF && !err)
		err = -errno;
	return err;
}

int machine_memory_hold(bool hold, uint64_t size_bytes)
{
	static unsigned order_before = REPORTING_ORDER_NEVER;
	unsigned ignored;
	int err = reporting_order_swap(hold ? REPORTING_ORDER_NEVER : order_before,
				       hold ? &order_before : &ignored);

	if (!err && hold)
		machine_memory_warm(size_bytes);
	return err;
}
