"""Whether a switch inside an async step is welcome.

Async code may rely on it that nothing else runs between two awaits. A call that blocks greenly in
between breaks that. It is allowed by default, because that is how code moves from one world to the
other; here it can be watched or refused.
"""

from contextlib import AbstractContextManager
from typing import Literal

def green_in_async(mode: Literal["allow", "warn", "raise"]) -> Literal["allow", "warn", "raise"]:
    """Say for the process what happens when async code blocks greenly, and get what was said before.

    Async code is a task or callback that a loop of this package runs, and plain code that it calls,
    which is where `eventlet.sleep()`, green sockets, locks, `wait()` and `await_()` block. "allow"
    lets it; "warn" warns by a RuntimeWarning that names the task and the line of the program that
    blocks, and lets it; "raise" raises a RuntimeError instead. Green threads block as they like, also
    those that async code awaits. ValueError for another word.
    """

def no_green_block() -> AbstractContextManager[None]:
    """Refuse green blocks until the with statement is left.

    It counts for the running task, over its awaits, or for the running green thread, and for nobody
    else, also not for those which they start. A call that would block greenly raises a RuntimeError
    and has done nothing.
    """
