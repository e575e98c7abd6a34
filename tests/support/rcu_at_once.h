/*
 * liburcu's thread rests 10 ms before it frees what it was given, and closing a store
 * waits for it. That is nothing to a daemon, and most of the time of a test that
 * opens ten thousand stores. After rcu_at_once() it does not rest.
 */
#ifndef VARVE_TESTS_RCU_AT_ONCE_H
#define VARVE_TESTS_RCU_AT_ONCE_H

void rcu_at_once(void);

#endif
