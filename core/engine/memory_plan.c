#include "memory_plan.h"

#include <unistd.h>

#include "layer_file.h"

#define LAYER_SIZE_DEFAULT_MAX (UINT64_C(64) << 20)
/* Fewer and larger layers: a read of history that is not merged yet visits them all. */
#define FROZEN_USUAL 1u

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

static uint64_t memory_default(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
	uint64_t bytes = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;

	return clamp(bytes / 8, MEMORY_DEFAULT_MIN, MEMORY_DEFAULT_MAX);
}

struct memory_plan memory_plan_make(uint64_t memory_bytes, uint64_t layer_bytes, uint64_t cache_bytes)
{
	uint64_t memory = memory_bytes ? memory_bytes : memory_default();
	struct memory_plan plan = { .memory_bytes = memory < MEMORY_MIN ? MEMORY_MIN : memory };
	uint64_t for_layers = plan.memory_bytes / 2, fit;

	plan.layer_bytes = clamp(layer_bytes ? layer_bytes : clamp(for_layers / MEMORY_LAYER_COST / (FROZEN_USUAL + 1),
								   LAYER_SIZE_MIN, LAYER_SIZE_DEFAULT_MAX),
				 LAYER_SIZE_MIN, LAYER_SIZE_MAX) & ~UINT64_C(4095);
	/* One frozen layer there must be, or writers wait for each seal. */
	fit = for_layers / MEMORY_LAYER_COST / plan.layer_bytes;
	plan.frozen_max = (uint32_t)clamp(fit ? fit - 1 : 0, 1, FROZEN_MAX);
	plan.cache_bytes = cache_bytes ? cache_bytes : plan.memory_bytes / 4;
	/* Who says how large the cache is to be means it. */
	plan.layers_bytes = cache_bytes ? 0 : for_layers;
	plan.views_bytes = plan.memory_bytes / 16;
	plan.recent_bytes = plan.memory_bytes / 32;
	plan.merge_bytes = plan.memory_bytes / 16;
	return plan;
}
