/*
 * Killpriv: set-id bits, as FUSE_HANDLE_KILLPRIV_V2 of the kernel (5.12) has it.
 *
 * A write by one without CAP_FSETID clears the set-id bits. Unless a file system
 * says that it does so when told to, the kernel asks it for the attribute
 * security.capability before every write: two round trips a write, which makes
 * random 8 KiB writes a third slower. libfuse before 3.17 can't say it, so this
 * sits between libfuse and the device: it adds the flag to the handshake's reply
 * and notes of each request whether the kernel wants the bits cleared.
 */
#ifndef VARVE_FS_KILLPRIV_H
#define VARVE_FS_KILLPRIV_H

#include <stdbool.h>

struct fuse_session;

/* Between fuse_session_mount and the loop. 0 or -errno; a kernel too old for it
 * is no error. */
int killpriv_install(struct fuse_session *session);

/* True if the kernel says of each request whether to clear the bits. */
bool killpriv_is_agreed(void);

/* Does the request that this thread is answering want the bits cleared? */
bool killpriv_is_wanted(void);

#endif
