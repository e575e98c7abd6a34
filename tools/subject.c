#include "subject.h"

error_t subject_parse(int key, char *argument, struct argp_state *state, struct subject *subject,
		      const char *missing)
{
	switch (key) {
	case 'j':
		subject->json = true;
		return 0;
	case ARGP_KEY_ARG:
		if (state->arg_num > 0)
			argp_error(state, "'%s' is one too many", argument);
		subject->path = argument;
		return 0;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "%s", missing);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}
