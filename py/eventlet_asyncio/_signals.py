"""The one handler that Python calls for every signal which loops of ours handle: it tells them all.

The standard library's loops learn of signals by Python's wakeup descriptor, which only one of them
can own: the last to go silences the others. Here each signal has this handler for as long as any
loop handles it. A handler that the program sets later replaces it: then the extension module, which
ends the waits of loops, says which signals came.
"""

import errno
import signal
import weakref

_loops: dict = {}  # The loops that handle each signal.


def _deliver(number, _frame):
    loops = tuple(_loops.get(number, ()))
    for loop in loops:
        loop._handle_signal(number)
    if not loops:
        # The last one ended in a thread that could not say so.
        _set_default(number)
        signal.raise_signal(number)


def noticed(numbers):
    """Tell the loops of signals for which the program has set a handler in the place of ours."""
    for number in numbers:
        if number in _loops and signal.getsignal(number) is not _deliver:
            for loop in tuple(_loops[number]):
                loop._handle_signal(number)


def add(loop, number):
    """Have Python tell a loop of a signal; in the main thread."""
    try:
        signal.signal(number, _deliver)
        signal.siginterrupt(number, False)
    except ValueError as error:
        raise RuntimeError(str(error)) from None
    except OSError as error:
        raise _refused(number, error) from None
    _loops.setdefault(number, weakref.WeakSet()).add(loop)


def check_thread(number):
    """Raise the ValueError with which Python refuses to set a handler outside of the main thread."""
    handler = signal.getsignal(number)
    if handler is not None:
        signal.signal(number, handler)


def remove(loop, number):
    """Tell a loop no more; after the last one the signal does what it does by default."""
    loops = _loops.get(number, set())
    loops.discard(loop)
    if not loops:
        try:
            _set_default(number)
        except ValueError:
            # Only the main thread can: when the signal comes.
            pass


def _set_default(number):
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _refused(number, error):
    if error.errno == errno.EINVAL:
        return RuntimeError(f"sig {number} cannot be caught")
    return error
