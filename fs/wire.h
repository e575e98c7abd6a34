/*
 * Wire: between libfuse and the kernel's device, for what the protocol has and libfuse 3.14 has not.
 *
 *   set-id bits     FUSE_HANDLE_KILLPRIV_V2 (Linux 5.12): the kernel says of each write, truncation and
 *                   change of owner whether the caller lacks the privilege to keep them. Unless a file
 *                   system says that it does as told, the kernel asks it for the attribute
 *                   security.capability before every write: two round trips a write, which makes random
 *                   8 KiB writes a third slower.
 *   access lists    FUSE_SETXATTR_EXT (5.14): the same of the set-group-id bit when an access control
 *                   list is set. Such a request is longer than libfuse expects, and is handed on without
 *                   what is added.
 *   O_TMPFILE       FUSE_TMPFILE (6.2): the same as a create, but for the name, so it is handed on as one.
 *
 * Flags of the handshake are added to its reply; what a request says is noted when it is read, and asked
 * for on the same thread, which answers it.
 */
#ifndef VARVE_FS_WIRE_H
#define VARVE_FS_WIRE_H

#include <stdbool.h>

struct fuse_session;

/* Between fuse_session_mount and the loop. 0 or -errno; a kernel too old for some of it
 * is no error. */
int wire_install(struct fuse_session *session);

/* True if the kernel says of each request whether to clear the set-id bits. */
bool wire_says_set_id(void);

/* ---- of the request that this thread is answering ---- */

/* Are the set-id bits to be cleared, or, by a new access control list, the set-group-id bit? */
bool wire_drops_set_id(void);

/* Is this create one of a file without a name? */
bool wire_is_unnamed(void);

#endif
