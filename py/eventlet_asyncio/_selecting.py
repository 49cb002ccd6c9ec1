"""Green `select.select()` in async code that only asks."""

import asyncio
import errno
import os

from eventlet import patcher
from eventlet.green.select import get_fileno

_select = patcher.original("select")


def select(own, read_list, write_list, error_list, timeout):
    """`select.select()`: with a time of 0 it asks the system at once where a loop runs.

    eventlet's lets others run before it answers, and refuses to ask for what another waits for. Who asks in
    async code, as httpx does of its idle connections, relies on neither.
    """
    if asyncio._get_running_loop() is None or not _is_zero(timeout):
        return own(read_list, write_list, error_list, timeout)
    return _ask(read_list, write_list, error_list)


def _is_zero(timeout):
    return isinstance(timeout, (int, float)) and timeout == 0


def _ask(read_list, write_list, error_list):
    # Not by select() itself, which knows no descriptor above 1023.
    readable = _select.POLLIN | _select.POLLHUP | _select.POLLERR
    writable = _select.POLLOUT | _select.POLLERR
    asked = [
        [(get_fileno(each), each) for each in files] for files in (read_list, write_list, error_list)
    ]
    wanted = {}
    for files, events in zip(asked, (_select.POLLIN, _select.POLLOUT, _select.POLLPRI)):
        for fd, _ in files:
            wanted[fd] = wanted.get(fd, 0) | events
    poll = _select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    found = dict(poll.poll(0))
    if any(events & _select.POLLNVAL for events in found.values()):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return tuple(
        [each for fd, each in files if found.get(fd, 0) & events]
        for files, events in zip(asked, (readable, writable, _select.POLLPRI))
    )
