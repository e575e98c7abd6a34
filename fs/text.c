#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool parse_leading(const char *text, uint64_t *value_out, const char **rest_out)
{
	unsigned long long value;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return false;
	*value_out = value;
	*rest_out = end;
	return true;
}

bool text_parse_number(const char *text, uint64_t *value_out)
{
	const char *rest;

	return parse_leading(text, value_out, &rest) && *rest == '\0';
}

static const char units[] = "KMGTPE";

bool text_parse_size(const char *text, uint64_t *bytes_out)
{
	uint64_t value;
	const char *rest, *unit;
	unsigned shift;

	if (!parse_leading(text, &value, &rest))
		return false;
	if (*rest) {
		unit = strchr(units, toupper((unsigned char)*rest));
		if (!unit)
			return false;
		rest++;
		if (*rest && strcasecmp(rest, "B") != 0 && strcasecmp(rest, "iB") != 0)
			return false;
		shift = 10 * (unsigned)(unit - units + 1);
		if (value > UINT64_MAX >> shift)
			return false;
		value <<= shift;
	}
	*bytes_out = value;
	return true;
}

const char *text_size(uint64_t bytes, char out[TEXT_SIZE_MAX])
{
	double value = (double)bytes;
	int unit = -1;

	while (value >= 1024 && units[unit + 1]) {
		value /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 " B", bytes);
	else
		snprintf(out, TEXT_SIZE_MAX, "%.1f %ciB", value, units[unit]);
	return out;
}

#define NS_PER_S UINT64_C(1000000000)

/* Descending. */
static const struct {
	char letter;
	uint64_t seconds;
} time_units[] = {{'w', 604800}, {'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

#define TIME_UNIT_COUNT (sizeof(time_units) / sizeof(time_units[0]))

bool text_parse_duration(const char *text, uint64_t *ns_out)
{
	uint64_t value, factor;
	const char *rest;

	if (!parse_leading(text, &value, &rest))
		return false;
	if (value == 0 && !*rest) {
		*ns_out = 0;
		return true;
	}
	for (size_t i = 0; i < TIME_UNIT_COUNT; i++) {
		if (*rest != time_units[i].letter || rest[1])
			continue;
		factor = time_units[i].seconds * NS_PER_S;
		return !__builtin_mul_overflow(value, factor, ns_out) && *ns_out <= INT64_MAX;
	}
	return false;
}

const char *text_size_exact(uint64_t bytes, char out[TEXT_SIZE_MAX])
{
	int unit = -1;

	while (bytes && bytes % 1024 == 0 && units[unit + 1]) {
		bytes /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(out, TEXT_SIZE_MAX, "%" PRIu64, bytes);
	else
		snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 "%c", bytes, units[unit]);
	return out;
}

const char *text_duration_exact(uint64_t ns, char out[TEXT_SIZE_MAX])
{
	/* Shorter than a second can't be written, nor set. */
	uint64_t seconds = (ns + NS_PER_S - 1) / NS_PER_S;
	size_t unit = 0;

	while (seconds % time_units[unit].seconds)
		unit++;
	if (seconds)
		snprintf(out, TEXT_SIZE_MAX, "%" PRIu64 "%c", seconds / time_units[unit].seconds,
			 time_units[unit].letter);
	else
		snprintf(out, TEXT_SIZE_MAX, "0");
	return out;
}

const char *text_time(int64_t ns, char out[TEXT_TIME_MAX])
{
	int64_t below = ns % (int64_t)NS_PER_S;
	time_t seconds = (time_t)(ns / (int64_t)NS_PER_S);
	char date[40] = "";
	struct tm utc;

	if (below < 0) {
		below += (int64_t)NS_PER_S;
		seconds--;
	}
	if (gmtime_r(&seconds, &utc))
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(out, TEXT_TIME_MAX, "%s.%09uZ", date, (unsigned)below);
	return out;
}
