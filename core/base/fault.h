/*
 * Fault: reading mapped files whose pages may be gone.
 *
 * A file that is cut short, or a disk that can't be read, turns a load from a
 * mapping into SIGBUS. What touches mapped layers runs inside fault_guarded,
 * which makes that an error. The handler is installed at the first call; a
 * SIGBUS outside goes to whatever handled it before. System calls that are given
 * mapped bytes need no guard: they return EFAULT.
 */
#ifndef VARVE_BASE_FAULT_H
#define VARVE_BASE_FAULT_H

typedef int fault_fn(void *context);

/* Call @fn and return its result; -EIO if it met a page that can't be read. @fn
 * must hold nothing that would be lost: it may be left at any load. Any thread;
 * calls don't nest. */
int fault_guarded(fault_fn *fn, void *context);

#endif
