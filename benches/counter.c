/* Tells callgrind where the measured block begins and ends, for Python to load. */

#include <valgrind/callgrind.h>

void start(void) {
    CALLGRIND_START_INSTRUMENTATION;
}

void stop(void) {
    CALLGRIND_STOP_INSTRUMENTATION;
}
