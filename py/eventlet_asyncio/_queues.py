"""eventlet's queues, for green threads of several OS threads: `_primitives.py` says by which rules.

An item that is given to one who waits is his when his wait returns. Where something is raised there
instead, as a cancel that came in the same turn, the item goes back: in eventlet's own kinds to where it
was, in a program's by `_put()`.
"""

import heapq
import sys

from eventlet import queue
from eventlet.event import NOT_USED
from eventlet.queue import _NONE, Empty, Full, ItemWaiter
from eventlet.timeout import Timeout
from greenlet import getcurrent

from eventlet_asyncio import _evio, _primitives

#: The methods that are replaced, by where they stand.
REPLACEMENTS: list = []

_replaces = _primitives.noting(REPLACEMENTS)


def _guard(self):
    """What keeps the steps of a call together, of which other threads must not see one alone."""
    try:
        return self._eventlet_asyncio_guard
    except AttributeError:
        return vars(self).setdefault("_eventlet_asyncio_guard", _evio.Guard())


def _put_if_room(self, item):
    try:
        counted = _COUNTED[type(self)._put]
    except KeyError:
        return _guard(self).call(_check_and_put, self, item)
    return _evio.append_if_room(self, item, counted)


def _check_and_put(self, item):
    room = self.qsize() < self.maxsize
    if room:
        self._put(item)
    return room


class _NothingThere(Exception):
    """Another thread was faster."""


def _take(self):
    """Take an item that was there a moment ago."""
    while True:
        try:
            return self._get()
        except IndexError:
            if not self.qsize():
                raise _NothingThere from None
            if type(self)._get not in _UNDONE:
                raise


@_replaces("eventlet.queue:LightQueue", "resize")
def resize(self, size):
    """Change how many items there may be, and wake those for whom there is room now."""
    larger = self.maxsize is not None and (size is None or size > self.maxsize)
    self.maxsize = size
    if larger:
        self._schedule_unlock()


@_replaces("eventlet.queue:LightQueue", "put")
def put(self, item, block=True, timeout=None):
    """Put an item in, for which to wait for room if need be."""
    if self.maxsize is None:
        self._put(item)
        if self.getters:
            self._schedule_unlock()
    elif self.maxsize > 0 and _put_if_room(self, item):
        if self.getters:
            self._schedule_unlock()
    elif not block and _on_hub():
        # Who runs here cannot wait, but can switch to one who waits for an item.
        for getter in _own(self.getters):
            self.getters.discard(getter)
            self._put(item)
            _hand(getter, self._get())
            return
        raise Full
    elif not block and self.getters and _evio.hub_of_thread() is None:
        # A plain thread does not wait for what it can leave to one who waits for it.
        if self.maxsize:
            raise Full
        self._put(item)
        self._schedule_unlock()
    elif block or self.getters:
        _wait_for_room(self, item, block, timeout if block else None)
    else:
        raise Full


def _wait_for_room(self, item, block, seconds):
    hub = _evio.hub_to_wait_in()
    _note_mark(self, hub)
    waiter = ItemWaiter(item, block)
    waiter.greenlet = getcurrent()
    timer = None if seconds is None else Timeout(seconds, Full)
    try:
        while True:
            self.putters.add(waiter)
            if self.getters or self.maxsize is None or self.qsize() < self.maxsize:
                self._schedule_unlock()
            result = hub.switch()
            assert result is waiter, f"Invalid switch into Queue.put: {result!r}"
            if waiter.item is _NONE:
                return
            if not block:
                raise Full
            if self.maxsize is None:
                self._put(item)
                break
            if _put_if_room(self, item):
                break
        waiter.item = _NONE
    except BaseException as exception:
        # Whoever took the item last has it.
        if _evio.exchange(waiter, "item", _NONE) is _NONE and isinstance(exception, Full):
            return
        raise
    finally:
        waiter.greenlet = None
        self.putters.discard(waiter)
        if timer is not None:
            timer.cancel()
    if self.getters:
        self._schedule_unlock()


@_replaces("eventlet.queue:LightQueue", "get")
def get(self, block=True, timeout=None):
    """Take an item out, for which to wait if need be."""
    if self.qsize():
        try:
            item = self._get()
        except IndexError:
            # Another thread may have been faster; else the wait below raises it again.
            pass
        else:
            # Now that there is room.
            if self.putters:
                self._schedule_unlock()
            return item
    if block:
        return _wait_for_item(self, timeout)
    if _on_hub():
        # Who runs here cannot wait, but can switch to those who wait for room.
        for putter in _own(self.putters):
            self.putters.discard(putter)
            self._put(_evio.exchange(putter, "item", _NONE))
            item = self._get()
            putter.switch(putter)
            return item
    raise Empty


def _wait_for_item(self, seconds):
    hub = _evio.hub_to_wait_in()
    _note_mark(self, hub)
    waiter = ItemWaiter(_NONE, True)
    waiter.greenlet = getcurrent()
    timer = None if seconds is None else Timeout(seconds, Empty)
    try:
        self.getters.add(waiter)
        if self.putters:
            self._schedule_unlock()
        if self.qsize():
            # Put by another thread, which saw nobody wait.
            try:
                return _take(self)
            except _NothingThere:
                pass
        try:
            return hub.switch()
        except BaseException:
            item = _evio.exchange(waiter, "item", _NONE)
            if item is not _NONE:
                _put_back(self, item)
            self._schedule_unlock()
            raise
    finally:
        waiter.greenlet = None
        self.getters.discard(waiter)
        if timer is not None:
            timer.cancel()


def _put_back(self, item):
    """Undo a `_get()`."""
    undo = _UNDONE.get(type(self)._get)
    if undo is not None:
        undo(self, item)
        return
    self._put(item)
    if getattr(self, "unfinished_tasks", 0):
        # It was counted when it came.
        self.unfinished_tasks -= 1


def _on_hub():
    hub = _evio.hub_of_thread()
    return hub is not None and hub.greenlet is getcurrent()


def _own(waiters):
    """Those who wait in this thread."""
    return [waiter for waiter in waiters.copy() if waiter and _evio.is_here(waiter.greenlet)]


class _Mark:
    """Stands for a hub in the queues for which somebody waits in it, and keeps no hub alive."""


def _mark(hub):
    try:
        return hub._eventlet_asyncio_mark
    except AttributeError:
        return vars(hub).setdefault("_eventlet_asyncio_mark", _Mark())


def _note_mark(self, hub):
    """Note whether all who ever waited for a queue did so in the same hub: None when not."""
    mark = _mark(hub)
    if vars(self).setdefault("_eventlet_asyncio_mark", mark) is not mark:
        self._eventlet_asyncio_mark = None


def _mark_of(self):
    return getattr(self, "_eventlet_asyncio_mark", None)


@_replaces("eventlet.queue:LightQueue", "_schedule_unlock")
def schedule_unlock(self):
    """Have those woken for whom there is something now, soon."""
    hub = _evio.hub_of_thread()
    if hub is None:
        self._unlock()
        return
    mark = _mark(hub)
    if self._event_unlock is not mark:
        self._event_unlock = mark
        hub.schedule_call_global(0, self._unlock)
    if _mark_of(self) is not mark:
        # Who waits in another thread need not wait for this one's turn.
        while True:
            waiter = _evio.any_of(self.getters) or _evio.any_of(self.putters)
            if not waiter or _evio.is_here(waiter.greenlet) or _hand_over(self, waiter):
                break


def _hand_over(self, waiter):
    """Leave a waiter of another thread to the hub there; False if that thread has ended."""
    if _evio.wake(waiter.greenlet, self._unlock, waiter):
        return True
    self.getters.discard(waiter)
    self.putters.discard(waiter)
    return False


def _pop(waiters, first):
    """Unregister one who waits, that one if it does."""
    try:
        if first in waiters:
            waiters.remove(first)
            waiter = first
        else:
            waiter = waiters.pop()
    except KeyError:
        return None
    return waiter if waiter else None


def _claim(self, waiters, number, offered, first):
    """Unregister so many of this thread's waiters. What there is for others, their hubs are told.

    Says also whether somebody was left out because his thread has ended.
    """
    mine = []
    others = []
    while number > 0 and waiters:
        waiter = _pop(waiters, first)
        if waiter is None:
            continue
        if _evio.is_here(waiter.greenlet):
            mine.append(waiter)
            number -= 1
        else:
            others.append(waiter)
            number -= waiter not in offered
    ended = False
    for waiter in others:
        waiters.add(waiter)
        if not waiter:
            # It has left meanwhile.
            waiters.discard(waiter)
        elif waiter not in offered:
            if _hand_over(self, waiter):
                offered.add(waiter)
            else:
                ended = True
    return mine, ended


def _still(offered):
    return sum(1 for waiter in offered if waiter)


def _give_item(self, getter):
    """Give an item to one who waits in this thread, if it still does and there still is one."""
    if not getter:
        return
    try:
        item = _take(self)
    except _NothingThere:
        self.getters.add(getter)
    except BaseException:
        getter.throw(*sys.exc_info())
    else:
        _hand(getter, item)


def _hand(getter, item):
    if type(getter) is ItemWaiter:
        # Else he waits in eventlet's own get(), which he called before there was this.
        getter.item = item
    getter.switch(item)


def _pair(self, getter):
    """Give the item of one who waits for room to one who waits in this thread."""
    putter = _pop(self.putters, None)
    item = _NONE if putter is None else _evio.exchange(putter, "item", _NONE)
    if item is _NONE:
        if getter:
            self.getters.add(getter)
        return
    self._put(item)
    here = _evio.is_here(putter.greenlet)
    if not here:
        _evio.wake(putter.greenlet, _resume, self, putter)
    _give_item(self, getter)
    if here:
        _resume(self, putter)


def _give_all(self, give, waiters, mine):
    """Give each who waits in this thread something; if that fails, the others wait on."""
    try:
        while mine:
            give(self, mine.pop())
    finally:
        waiters.update(waiter for waiter in mine if waiter)


@_replaces("eventlet.queue:LightQueue", "_unlock")
def unlock(self, first=None):
    """Wake those for whom there is something, that one first; those of other threads by their hubs."""
    hub = _evio.hub_of_thread()
    try:
        if hub is None or not _unlock_one_by_one(self, _mark(hub)):
            _unlock_all(self, first)
    finally:
        self._event_unlock = None


def _pop_own(waiters):
    """Unregister one who waits in this thread; None where the one at hand waits in another."""
    waiter = _pop(waiters, None)
    if waiter is None or _evio.is_here(waiter.greenlet):
        return waiter
    waiters.add(waiter)
    if not waiter:
        # It has left meanwhile.
        waiters.discard(waiter)
    return None


def _unlock_one_by_one(self, mark):
    """Wake those who wait in this thread, as eventlet does, unless some wait in another.

    Others may come at any time, but note their mark before they register.
    """
    while _mark_of(self) is mark:
        if self.getters and self.qsize():
            _give_item(self, _pop_own(self.getters))
        elif self.getters and self.putters:
            getter = _pop_own(self.getters)
            if getter is not None:
                _pair(self, getter)
        elif self.putters and (self.maxsize is None or self.qsize() < self.maxsize):
            _resume(self, _pop_own(self.putters))
        else:
            _refuse_all(self)
            return True
    return False


def _unlock_all(self, first):
    """Wake those who wait in any thread.

    Who is woken here may keep this thread for long, so the others are told before.
    """
    getters = set()
    putters = set()
    while True:
        number = self.qsize() - _still(getters)
        mine, ended = _claim(self, self.getters, number, getters, first)
        if mine or ended:
            _give_all(self, _give_item, self.getters, mine)
            continue
        mine, ended = _claim(self, self.getters, len(self.putters), getters, first)
        if mine or ended:
            _give_all(self, _pair, self.getters, mine)
            continue
        if self.maxsize is None:
            number = len(self.putters)
        else:
            number = self.maxsize - self.qsize() - _still(putters)
        mine, ended = _claim(self, self.putters, number, putters, first)
        if not mine and not ended:
            break
        _give_all(self, _resume, self.putters, mine)
    _refuse_all(self)


def _refuse_all(self):
    """Tell those who do not want to wait for room that there is none."""
    if self.putters and not self.getters:
        for putter in self.putters.copy():
            if not putter.block:
                self.putters.discard(putter)
                _evio.wake(putter.greenlet, _refuse, putter)


def _resume(self, putter):
    """Let one who waits in this thread put its item in, or go if that is in."""
    if putter:
        putter.switch(putter)


def _refuse(putter):
    if putter:
        putter.greenlet.throw(Full)


@_replaces("eventlet.queue:Queue", "_put")
def put_counted(self, item):
    """Put an item in that is to be worked on: counted first, or it could be done before that."""
    self._put_bookkeeping()
    queue.LightQueue._put(self, item)


@_replaces("eventlet.queue:LifoQueue", "_put")
def put_last(self, item):
    """As Queue._put."""
    self._put_bookkeeping()
    self.queue.append(item)


# What compares items may run Python code, and so let another thread see the heap half sorted.


def _push_and_count(self, item):
    heapq.heappush(self.queue, item)
    self._put_bookkeeping()


@_replaces("eventlet.queue:PriorityQueue", "_put")
def put_in_order(self, item):
    """As Queue._put."""
    _guard(self).call(_push_and_count, self, item)


@_replaces("eventlet.queue:PriorityQueue", "_get")
def get_in_order(self):
    """Take the lowest item."""
    return _guard(self).call(heapq.heappop, self.queue)


#: Raise IndexError where there is nothing; and what undoes them.
_UNDONE = {
    queue.LightQueue._get: lambda self, item: self.queue.appendleft(item),
    queue.LifoQueue._get: lambda self, item: self.queue.append(item),
    get_in_order: lambda self, item: _guard(self).call(heapq.heappush, self.queue, item),
}

#: Append to `queue`, and count the item or not.
_COUNTED = {queue.LightQueue._put: False, put_counted: True, put_last: True}


@_replaces("eventlet.queue:Queue", "_put_bookkeeping")
def count_item(self):
    """Count an item for which join() waits."""
    self.unfinished_tasks += 1
    if self._cond._result is not NOT_USED:
        _evio.reopen_join(self)


@_replaces("eventlet.queue:Queue", "task_done")
def task_done(self):
    """Say that an item was worked on; after the last, join() returns."""
    if not _evio.count_done(self):
        raise ValueError("task_done() called too many times")
