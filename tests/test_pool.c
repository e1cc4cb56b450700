#define _XOPEN_SOURCE 700
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "os.h"
#include "support/expect.h"
#include "support/os_faults.h"

enum { NUMBER_MAX = 1100 };

typedef struct seen {
    atomic_uint calls[NUMBER_MAX];
    atomic_uint total;
    pthread_t first;
    atomic_uint mistakes;
} seen;

static void reset(void)
{
    os_faults_reset();
}

TestSuite(pool, .init = reset);

static void note(void *context, uint32_t number)
{
    seen *all = context;
    atomic_fetch_add(&all->total, 1);
    atomic_fetch_add(&all->calls[number], 1);
    if (number == 0) all->mistakes += !pthread_equal(pthread_self(), all->first);
}

static unsigned run(seen *all, uint32_t thread_count)
{
    memset(all, 0, sizeof *all);
    all->first = pthread_self();
    tarei_pool_run(thread_count, note, all);
    cr_expect_eq(all->mistakes, 0, "number 0 is the thread that called");
    cr_expect_eq(all->calls[0], 1);
    return all->total;
}

Test(pool, calls_each_number_once)
{
    static seen all;
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 8, 16, 33, 200, TAREI_POOL_THREADS_MAX};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        cr_expect_eq(run(&all, counts[c]), counts[c]);
        for (uint32_t i = 0; i < NUMBER_MAX; i++)
            cr_assert_eq(all.calls[i], i < counts[c], "%u of %u", i, counts[c]);
    }
}

Test(pool, starts_no_thread_for_one)
{
    static seen all;
    cr_expect_eq(run(&all, 1), 1);
    cr_expect_eq(run(&all, 0), 1, "none is one too");
    cr_expect_eq(os_fault.calls[OS_THREAD], 0);
}

Test(pool, goes_on_with_fewer_threads_where_one_cannot_be_started)
{
    static seen all;
    for (size_t fail_at = 1; fail_at <= 16; fail_at++)
        for (size_t count = 0; count < 2; count++) {
            os_faults_reset();
            os_fault.fail_at[OS_THREAD] = fail_at;
            os_fault.fail_count = count;
            os_fault.error = EAGAIN;
            unsigned calls = run(&all, 16);
            cr_expect_geq(calls, 1);
            cr_expect_eq(calls == 16, fail_at == 16, "%zu", fail_at);
            for (uint32_t i = 0; i < 16; i++) cr_expect_leq(all.calls[i], 1);
        }
}

static void check_signals(void *context, uint32_t number)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    if (sigismember(&mask, SIGTERM) != (number != 0)) atomic_fetch_add((atomic_uint *)context, 1);
}

Test(pool, leaves_signals_to_the_threads_of_the_program)
{
    atomic_uint mistakes = 0;
    tarei_pool_run(7, check_signals, &mistakes);
    cr_expect_eq(mistakes, 0);
    check_signals(&mistakes, 0);
    cr_expect_eq(mistakes, 0, "the mask of the caller is what it was");
}

Test(pool, processors_are_counted_also_where_the_set_of_them_is_not_told)
{
    uint32_t count = tarei_os_processor_count();
    cr_expect_geq(count, 1);
    os_fault.fail_at[OS_AFFINITY] = os_fault.calls[OS_AFFINITY] + 1;
    os_fault.error = EINVAL;
    cr_expect_geq(tarei_os_processor_count(), count);
}
