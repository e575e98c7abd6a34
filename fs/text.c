#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
