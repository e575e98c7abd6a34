/*
 * Engine repair: make the files of a store agree again, without dropping a byte that
 * verifies.
 *
 * Every step leaves a store that is no worse, whenever the process ends: what is to be
 * replaced is first copied to STORE/damaged and synced there, what replaces it is written
 * under another name and synced, and a rename puts it in its place. To be killed
 * in between costs a run of the repair, nothing else.
 *
 *   index, footer, header   made anew from the log, whose heads are whole; of a table from its data
 *   manifest                made anew from the layer files, if they chain up
 *   an unnamed layer        named, if it goes on where the history ends; else set aside
 *   the end of the history  where what had been synced can't be read, the history ends
 *                           now before it; the rest is set aside. A hole in the history
 *                           can't be left: patches and names behind it would be applied
 *                           to what they were not made for
 *
 *   a layer that is gone    a sealed one without log and index, a table without data and footer: noted
 *                           as lost in the manifest, and what is left of it goes once it was set aside. One that is
 *                           there again, from a backup, is lost no more
 *
 * What can't be mended stays as it is: versions whose bytes are damaged are refused when
 * they are read, and if what there is makes no history the store stays shut.
 */
#ifndef VARVE_ENGINE_REPAIR_H
#define VARVE_ENGINE_REPAIR_H

#include <stdint.h>

#define DAMAGED_NAME "damaged"          /* the directory of what was set aside */

/* Told of each step once it is durable, in words. */
struct repair_hooks {
	void (*done)(void *context, const char *text);
	void *context;
};

/* Mend what engine_check finds wrong in the files of @dir_fd, which nobody uses. 0; -ENOSPC:
 * there is no room to set aside; -errno: the step that failed changed nothing. */
int engine_repair(int dir_fd, const struct repair_hooks *hooks);

/* Make STORE/damaged if it is not there, durable. */
int engine_repair_prepare(int dir_fd);

#endif
