"""What programs of the explorer run with: pauses, at which others run, and a trace of all that happens.

A script that replays a program begins with this file, so it needs nothing of the explorer.
"""

import asyncio
import contextvars
import contextlib

import eventlet
import greenlet
from eventlet import corolocal, event, hubs

from eventlet_asyncio import EventLoop, await_
from eventlet_asyncio._sides import home_loop, on_green_side
from eventlet_asyncio.hub import Hub

CALLER = contextvars.ContextVar("the node that runs", default=None)


class Run:
    """One run of a program: the present one is `Run.now`."""

    now = None

    def __init__(self, strikes):
        #: What strikes at which point.
        self.strikes = {}
        for strike in strikes:
            self.strikes.setdefault(strike[0], []).append(strike[1:])
        self.point = 0
        #: A loop that runs as long as the program.
        self.lasting_loop = None
        self.trace = []
        #: Nodes that run, by number.
        self.alive = {}
        self.units = {}
        self.made = {}
        #: Whether green threads start with a copy of their maker's context.
        self.copies = isinstance(hubs.get_hub(), Hub)
        Run.now = self
        CALLER.set(None)

    def strike(self, kind, number):
        """Strikes a node; the module of strikes says how."""

    def note(self, *what):
        self.trace.append(what)

    def unit(self, key):
        """The number of a task or green thread."""
        return self.units.setdefault(key, len(self.units))

    def running(self):
        """The number of the task or green thread that runs."""
        return self.unit(running_task() or greenlet.getcurrent())

    def named(self, exception, name):
        """An exception with a name, of which there is one."""
        exception.name = name
        self.made[name] = exception
        return exception


class Wrong(Exception):
    """Raised by a node."""


class Base(BaseException):
    """Raised by a node, and no Exception."""


def name_of(exception):
    name = getattr(exception, "name", None)
    if name is None:
        return type(exception).__name__.replace("BaseExceptionGroup", "ExceptionGroup")
    return name if Run.now.made.get(name) is exception else f"a copy of {name}"


def outcome(value, exception):
    if exception is not None:
        return ("raised", name_of(exception))
    if isinstance(value, list):
        return ("values", *(outcome(each, None) for each in value))
    # What gather() returns.
    return ("raised", name_of(value)) if isinstance(value, BaseException) else ("value", value)


def raised_by(limit):
    """What a Timeout raises, if only inside itself."""
    return limit.exception or limit


def running_loop():
    """The loop that runs here: eventlet's asyncio hub shows its own to green code, too."""
    loop = asyncio._get_running_loop()
    return None if loop is None or on_green_side(loop) else loop


def running_task():
    return None if running_loop() is None else asyncio.current_task()


def identity():
    return running_loop(), running_task(), corolocal.get_ident()


class node:
    """The life of a node."""

    def __init__(self, number, parent):
        self.number = number
        self.parent = parent
        self.value = None
        self.calls = []

    def __enter__(self):
        run = self.run = Run.now
        self.identity = identity()
        self.key = running_task() or greenlet.getcurrent()
        self.loop = running_loop()
        run.note("start", self.number, run.unit(self.key), None if self.loop is None else id(self.loop))
        if CALLER.get() != self.parent and (run.copies or CALLER.get() is not None):
            run.note("fault", f"node {self.number} has the context of node {CALLER.get()}")
        CALLER.set(self.number)
        run.alive[self.number] = self
        return self

    def __exit__(self, kind, exception, traceback):
        if self.run is not Run.now:
            # Collected as garbage.
            return
        self.look()
        self.run.alive.pop(self.number, None)
        self.run.note("end", self.number, outcome(self.value, exception))

    def look(self):
        """The node is who it was when it began."""
        if identity() != self.identity:
            self.run.note("fault", f"node {self.number} was {self.identity} and is {identity()}")
        if CALLER.get() != self.number:
            self.run.note("fault", f"node {self.number} has the context of node {CALLER.get()}")

    def wrong(self, kind, name):
        return self.run.named(kind(), f"{name} {self.number}")

    @contextlib.contextmanager
    def cleanup(self):
        self.run.note("clean", self.number)
        try:
            yield
        finally:
            self.run.note("cleaned", self.number)

    @contextlib.contextmanager
    def turn(self, kind):
        """A point at which others run."""
        self.run.note("pause", self.number, kind)
        try:
            point(self)
            yield
        except BaseException as exception:
            self.run.note("resumed", self.number, name_of(exception))
            raise
        else:
            self.run.note("resumed", self.number, None)
        finally:
            self.look()


class call:
    """A call of children by a node."""

    def __init__(self, me, kind, *children, caught=False):
        self.me, self.kind, self.children, self.caught = me, kind, children, caught
        self.value = self.handle = self.limit = None

    def __enter__(self):
        self.me.run.note("call", self.me.number, self.kind, self.children)
        self.me.calls.append(self)
        return self

    def on(self, handle):
        """What the call waits for, which can be struck itself."""
        self.handle = handle
        if isinstance(handle, greenlet.greenlet):
            self.me.run.note("handle", self.me.number, self.me.run.unit(handle))
        return handle

    def limited(self, limit):
        self.limit = limit
        if isinstance(limit, eventlet.Timeout):
            self.me.run.named(raised_by(limit), f"Timeout {self.me.number}-{self.children[0]}")
        return limit

    def __exit__(self, kind, exception, traceback):
        me = self.me
        if me.run is not Run.now:
            return False
        me.calls.remove(self)
        left = CALLER.get()
        CALLER.set(me.number)
        me.run.note("saw", me.number, self.children, outcome(self.value, exception), left)
        me.look()
        self.handle = self.limit = None
        return self.caught


def pause(me, kinds):
    """Gives the turn of green code away."""
    for kind in kinds:
        with me.turn(kind):
            hub = hubs.get_hub()
            if kind == "s":
                eventlet.sleep(0)
                continue
            there = event.Event()
            loop = running_loop() or me.run.lasting_loop
            if kind == "c" and loop is not None:
                loop.call_soon(there.send)
            else:
                hub.schedule_call_global(0, there.send)
            there.wait()


async def async_pause(me, kinds):
    """Gives the turn of async code away."""
    for kind in kinds:
        with me.turn(kind):
            if kind == "s":
                await asyncio.sleep(0)
                continue
            if kind == "g":
                eventlet.sleep(0)
                continue
            there = asyncio.get_running_loop().create_future()
            if kind == "c":
                asyncio.get_running_loop().call_soon(resolve, there)
            else:
                hubs.get_hub().schedule_call_global(0, resolve, there)
            await there


def stand_on(name):
    """Has this thread use a hub; that hub and its loop."""
    hubs.use_hub(name)
    # A loop of ours runs in it from then on.
    await_(asyncio.sleep(0))
    return hubs.get_hub(), home_loop()


def run_foreign(make_loop, main, limit=8):
    """As asyncio.run(), on a loop that is not ours."""
    loop = make_loop()
    limit = loop.call_later(limit, loop.stop)
    try:
        return loop.run_until_complete(main)
    finally:
        limit.cancel()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait_for(left(tasks, loop), 8))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def nothing():
    """What nobody has to wait for."""


async def left(tasks, loop):
    for end in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True)):
        task, exception = end
        if not task.cancelled() and task.exception() is not None:
            message = "unhandled exception during asyncio.run() shutdown"
            loop.call_exception_handler({"message": message, "exception": exception, "task": task})


def resolve(future):
    if not future.done():
        future.set_result(None)


def point(me):
    """A switch point, at which something may strike."""
    run = me.run
    run.point += 1
    for kind, number, way in run.strikes.get(run.point, ()):
        target = run.alive.get(number)
        loop = running_loop() or home_loop()
        if not isinstance(loop, EventLoop):
            # Where kill() strikes later, of which the trace would not tell.
            way = "timer"
        if way == "soon":
            loop.call_soon(run.strike, kind, number)
        elif way == "inline" and target is not None and target.key is not me.key:
            run.strike(kind, number)
        else:
            hubs.get_hub().schedule_call_global(0, run.strike, kind, number)
