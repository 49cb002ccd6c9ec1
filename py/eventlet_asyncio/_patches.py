"""What the first hub of ours, or the first loop of ours in another hub, changes in other people's
modules: one table, and how each row is undone.

docs/patches.md says why. At import nothing is changed, and forks are told to wait for changes that are under way.
"""

import asyncio
import contextlib
import functools
import importlib
import os
import pkgutil
import sys

import greenlet
from eventlet import event, greenthread, patcher
from eventlet.hubs import asyncio as asyncio_hub

from eventlet_asyncio import _anyio, _conditions, _evio, _executors, _primitives, _queues, _selecting
from eventlet_asyncio._replacing import Attribute, Code, CodeAround, CodeThatMayRun, Function, Methods, is_own, resolve
from eventlet_asyncio._stdlib import Events


def own_main():
    """eventlet's GreenThread.main, or None where the program has put its own there."""
    main = vars(greenthread.GreenThread)["main"]
    return main if is_own(main, greenthread) else None


def own_wait():
    """eventlet's GreenThread.wait, or None where the program has put its own there."""
    wait = vars(greenthread.GreenThread)["wait"]
    return wait if is_own(wait, greenthread) else None


def own_event():
    """eventlet's Event, and the methods that it has here; None for one in whose place the program has its own."""
    methods = vars(event.Event)
    init, reset, do_send = (
        methods[name] if is_own(methods[name], event) else None
        for name in ("__init__", "reset", "_do_send")
    )
    return event.Event, (init, reset, _primitives.wait, _primitives.send, do_send)


def _ask_for_other_hub(code):
    asyncio_hub.Hub = _Asked("Hub", (asyncio_hub.Hub,), {"_asker": code})


class _Asked(type):
    """Stands in for eventlet's asyncio hub until the code that is running has asked about ours."""

    def __instancecheck__(cls, hub):
        if sys._getframe(1).f_code is cls._asker:
            asyncio_hub.Hub = cls.__base__
            return False
        return isinstance(hub, cls.__base__)


def _spawn_otherwise(code):
    module = sys.modules["eventlet.asyncio"]
    own = module.spawn

    def spawn(function, *args, **kwargs):
        if sys._getframe(1).f_code is not code:
            return own(function, *args, **kwargs)
        module.spawn = own
        held = dict(zip(function.__code__.co_freevars, function.__closure__))
        return _spawn_for_awaitable(held["coroutine"].cell_contents)

    module.spawn = spawn


class StackChunks:
    """Keeps the memory of ended green threads for the next ones."""

    places = [("PyObject_SetArenaAllocator", "")]

    def apply(self):
        if os.environ.get("EVENTLET_ASYNCIO_STACK_CACHE", "1") != "0":
            _evio.cache_stack_chunks(True)

    def undo(self):
        _evio.cache_stack_chunks(False)


class Primitives:
    """Gives eventlet's Event, Semaphore, Queue and GreenThread what they need between threads."""

    replacements = (*_primitives.REPLACEMENTS, *_queues.REPLACEMENTS)
    places = tuple((place, name) for place, name, _ in replacements)

    def __init__(self, *functions):
        self.functions = functions
        self._saved = []

    def apply(self):
        for place, name, replacement in self.replacements:
            owner = resolve(place)
            self._saved.append((owner, name, vars(owner).get(name)))
            setattr(owner, name, replacement)
        for function in self.functions:
            function.apply()

    def undo(self):
        for function in self.functions:
            function.undo()
        while self._saved:
            owner, name, value = self._saved.pop()
            if value is None:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


class Policy:
    """Makes asyncio.run() and its kin take loops of ours, unless a policy of the program's is set."""

    places = [("asyncio", "set_event_loop_policy")]

    def __init__(self):
        self._saved = None

    def apply(self):
        from eventlet_asyncio.loop import EventLoopPolicy

        policy = asyncio.get_event_loop_policy()
        if type(policy) is asyncio.DefaultEventLoopPolicy:
            self._saved = policy
            asyncio.set_event_loop_policy(EventLoopPolicy())

    def undo(self):
        if self._saved is not None:
            asyncio.set_event_loop_policy(self._saved)
            self._saved = None


def _evaluate_selectors():
    """Have eventlet make the original of `selectors` with the original of what it looks at when it is imported."""
    import select

    sys.modules["select"] = patcher.original("select")
    try:
        patcher.original("selectors")
    finally:
        sys.modules["select"] = select


class OriginalModules:
    """Gives asyncio the modules that it uses as they were before monkey patching."""

    names = (
        "_thread",
        "os",
        "queue",
        "select",
        "selectors",
        "socket",
        "ssl",
        "subprocess",
        "threading",
        "time",
    )
    places = [("asyncio.*", "/".join(names))]

    def __init__(self):
        self._saved = []

    def apply(self):
        _evaluate_selectors()
        for module in _asyncio_modules():
            for name in self.names:
                # The original may be there already: eventlet's own asyncio hub puts some in.
                known = getattr(module, name, None)
                if known is not None and known in (sys.modules.get(name), patcher.original(name)):
                    self._replace(module, name)
            if hasattr(module, "get_ident"):
                self._set(module, "get_ident", patcher.original("_thread").get_ident)
        if _executors.threads is not None:
            self._replace(_executors.threads, "threading")
            self._replace(_executors.threads, "queue")
        self._replace(patcher.original("selectors"), "select")

    def _replace(self, module, name):
        original = patcher.original(name)
        self._set(module, name, OriginalSsl(original) if name == "ssl" else original)

    def _set(self, module, name, value):
        if vars(module)[name] is not value:
            self._saved.append((module, name, vars(module)[name]))
            setattr(module, name, value)

    def undo(self):
        while self._saved:
            setattr(*self._saved.pop())


class OriginalSsl:
    """The original ssl, to ask whether something is TLS of whatever copy of that module."""

    def __init__(self, ssl):
        self._ssl = ssl
        # Every copy, and eventlet, derive their own from this one.
        self.SSLContext = ssl.SSLContext.__base__

    @property
    def SSLSocket(self):
        return self._ssl.SSLSocket, sys.modules["ssl"].SSLSocket

    def __getattr__(self, name):
        return getattr(self._ssl, name)


def _asyncio_modules():
    yield asyncio
    for info in pkgutil.iter_modules(asyncio.__path__):
        if info.name.startswith(("__", "windows", "proactor")):
            continue
        yield importlib.import_module(f"asyncio.{info.name}")


#: Where asyncio asks for the running loop to make tasks, and timeouts, on it.
MODULES_OF_TASKS = ["asyncio.tasks"]
if sys.version_info >= (3, 11):
    MODULES_OF_TASKS.append("asyncio.timeouts")


class EventsOfTasks(Events):
    """Green code has a running loop to make tasks and timeouts on: its home loop."""

    def get_running_loop(self):
        loop = self._events._get_running_loop()
        if loop is None:
            from eventlet_asyncio import _sides

            loop = _sides.green_home_loop()
        if loop is None:
            raise RuntimeError("no running event loop")
        return loop


class EventsOfRunners(Events):
    """asyncio.run() below a task of ours finds no loop running: the step steps aside for it."""

    def _get_running_loop(self):
        loop = self._events._get_running_loop()
        if loop is None:
            return None
        from eventlet_asyncio import _sides

        return None if _sides.can_step_aside(loop) else loop


def _set_running_loop():
    """A loop that is not ours hosts the hub of its thread while it runs, of which it would not know otherwise."""
    own = asyncio.events._set_running_loop

    @functools.wraps(own)
    def set_running_loop(loop, /):
        own(loop)
        if sys.is_finalizing():
            return
        hub = _evio.hub_of_thread()
        if isinstance(hub, _evio.HubCore):
            # It may be one that watches no descriptors, or no loop at all: the next green call says so.
            with contextlib.suppress(Exception):
                hub._meet_foreign()

    return set_running_loop


def _switch():
    from eventlet.hubs.hub import BaseHub

    from eventlet_asyncio import _steps

    return _steps.parking(BaseHub.switch)


def _run():
    from eventlet.hubs.hub import BaseHub

    own = BaseHub.run

    @functools.wraps(own)
    def run(self, *args, **kwargs):
        return _evio.call_to_stop_at_exit(own, self, *args, **kwargs)

    return run


def _main_thread():
    """After monkey_patch() current_thread() gives the main thread as one of several objects."""
    threading = sys.modules["threading"]
    own = threading.main_thread

    def main_thread():
        here = threading.current_thread()
        if type(here).__name__ != "_MainThread":
            return own()
        if not hasattr(here, "native_id"):
            # eventlet's copy of the module was made without, and multiprocessing sets it in its children.
            for name in ("native_id", "_set_native_id"):
                setattr(type(here), name, vars(threading.Thread)[name])
            here._set_native_id()
        return here

    return main_thread


def _condition_wait():
    return _conditions.condition_wait(sys.modules["threading"].Condition.wait)


def _executors_to_shut_down():
    if _executors.threads is not None:
        place = "concurrent.futures.thread:ThreadPoolExecutor", "shutdown"
        yield Attribute([place], _executors.shutdown)


def _green_thread_modules():
    """To its own main thread, eventlet's copy of `threading` is whoever imports it: that is the main greenlet."""
    own = patcher._green_thread_modules

    def green_thread_modules():
        main = greenlet.getcurrent()
        if main.parent is None:
            return own()
        while main.parent is not None:
            main = main.parent
        from eventlet.green import thread

        # From Python 3.13 a thread is known by a handle, and eventlet's would have to be made there.
        thread._make_thread_handle = lambda ident: thread._ThreadHandle(main)
        modules = own()
        threading = dict(modules)["threading"]
        thread_of_main, active = threading._main_thread, threading._active
        active.pop(thread_of_main._ident, None)
        thread_of_main._ident = thread.get_ident(main)
        active[thread_of_main._ident] = thread_of_main
        return modules

    return green_thread_modules


def _await():
    return _evio.method(_evio.await_green_thread)


def _spawn_for_awaitable(coroutine):
    import eventlet_asyncio

    return eventlet_asyncio.spawn_for_awaitable(coroutine)


def _kill(g, *throw_args):
    from eventlet_asyncio import _evio, _primitives

    try:
        _primitives.kill(g, *throw_args)
    finally:
        # This is no green block, and may be ended by somebody else's kill().
        _evio.go_on()


def _cancel(g, *throw_args):
    from eventlet_asyncio import _primitives

    _primitives.cancel(g, *throw_args)


def _select(read_list, write_list, error_list, timeout=None):
    native = "native"
    return native(read_list, write_list, error_list, timeout)


def _hub_prevent_multiple_readers(state=True):
    from eventlet.hubs import asyncio, get_hub, hub

    from eventlet_asyncio.hub import Hub

    if not state and isinstance(get_hub(), asyncio.Hub) and not isinstance(get_hub(), Hub):
        raise RuntimeError("Multiple readers are not yet supported by asyncio hub")
    hub.g_prevent_multiple_readers = state


def _sleep(seconds=0):
    native = "native"
    return native(seconds)


def _spawn(func, *args, **kwargs):
    native = "native"
    return native(func, *args, **kwargs)


def _spawn_n(func, *args, **kwargs):
    native = "native"
    return native(func, *args, **kwargs)


def _trampoline(fd, read=None, write=None, timeout=None, timeout_exc=None, mark_as_closed=None):
    native = "native"
    return native(fd, read, write, timeout, timeout_exc, mark_as_closed)


def _get_ident(gr=None):
    native = "native"
    return native(gr)


def _get_own_ident():
    native = "native"
    return native()


def _dictionary_of_owner(local):
    owner = "native"
    owner = owner()
    dictionaries = object.__getattribute__(local, "_local__greens")
    if owner not in dictionaries:
        dictionaries[owner] = {}
        if type(local).__init__ is not object.__init__:
            args, kwargs = object.__getattribute__(local, "_local__args")
            local.__init__(*args, **kwargs)
    object.__setattr__(local, "__dict__", dictionaries[owner])


SLEEP = Function(
    [("eventlet.greenthread", "sleep"), ("eventlet", "sleep"), ("eventlet.green.time", "sleep")],
    _sleep,
)

SPAWN = Function(
    [("eventlet.greenthread", "spawn"), ("eventlet", "spawn")],
    _spawn,
)

SPAWN_N = Function(
    [("eventlet.greenthread", "spawn_n"), ("eventlet", "spawn_n")],
    _spawn_n,
)

TRAMPOLINE = Function(
    [
        ("eventlet.hubs", "trampoline"),
        ("eventlet.greenio.base", "trampoline"),
        ("eventlet.greenio.py3", "trampoline"),
        ("eventlet.green.ssl", "trampoline"),
    ],
    _trampoline,
)

RUN_OF_OTHERS = Attribute([("eventlet.hubs.hub:BaseHub", "run")], _run)

ORIGINAL_MODULES = OriginalModules()

TABLE = (
    ORIGINAL_MODULES,
    Policy(),
    _anyio.WorkerThreads(),
    _anyio.Runs(lambda: EventsOfRunners(asyncio.events)),
    Attribute([("threading", "main_thread")], _main_thread),
    Attribute([("eventlet.patcher", "_green_thread_modules")], _green_thread_modules),
    Attribute([("threading:Condition", "wait")], _condition_wait),
    *_executors_to_shut_down(),
    SLEEP,
    SPAWN,
    SPAWN_N,
    TRAMPOLINE,
    StackChunks(),
    Function([("eventlet.green.thread", "get_ident")], _get_ident),
    Function([("eventlet.corolocal", "get_ident")], _get_own_ident),
    Code("eventlet.corolocal", "_patch", _dictionary_of_owner, "owner"),
    Attribute(
        [(module, "events") for module in MODULES_OF_TASKS],
        lambda: EventsOfTasks(asyncio.events),
    ),
    Attribute([("asyncio.runners", "events")], lambda: EventsOfRunners(asyncio.events)),
    Attribute(
        [("asyncio.events", "_set_running_loop"), ("asyncio", "_set_running_loop")], _set_running_loop
    ),
    Attribute([("eventlet.hubs.hub:BaseHub", "switch")], _switch),
    RUN_OF_OTHERS,
    Methods(
        "eventlet.timeout:Timeout",
        {
            "__init__": "init_timeout",
            "start": "start_timeout",
            "cancel": "cancel_timeout",
            "__enter__": "enter_timeout",
            "__exit__": "exit_timeout",
        },
    ),
    Methods("eventlet.greenthread:GreenThread", {"__init__": "init_green_thread"}),
    Methods("eventlet.greenio.base:GreenSocket", {"_recv_loop": "recv_loop"}),
    Primitives(
        Code("eventlet.greenthread", "kill", _kill),
        Code("eventlet.greenthread", "cancel", _cancel),
    ),
    Attribute([("eventlet.greenthread:GreenThread", "__await__")], _await),
    CodeThatMayRun(
        "eventlet.asyncio", "spawn_for_awaitable", _spawn_for_awaitable, _spawn_otherwise
    ),
    CodeAround("eventlet.green.select", "select", _select, _selecting.select),
    CodeThatMayRun(
        "eventlet.debug",
        "hub_prevent_multiple_readers",
        _hub_prevent_multiple_readers,
        _ask_for_other_hub,
    ),
)

_applied = False

#: Threads that make their first hubs at once wait for the changes to be whole, as does a fork.
_lock = patcher.original("threading").RLock()
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def apply():
    """Make the changes of the table, once."""
    global _applied
    with _lock:
        if not _applied:
            done = []
            try:
                for patch in TABLE:
                    patch.apply()
                    done.append(patch)
            except BaseException:
                for patch in reversed(done):
                    patch.undo()
                raise
            _applied = True
        else:
            # Modules of asyncio may have been imported, or patched, since.
            ORIGINAL_MODULES.apply()


def undo():
    """Take all changes back; for tests, and for programs that are done with eventlet."""
    global _applied
    with _lock:
        _applied = False
        # use_hub() makes some of them before the others.
        for patch in reversed(TABLE):
            patch.undo()


def original(place, name):
    """What stood at a patched place."""
    for patch in TABLE:
        if isinstance(patch, (Attribute, Function)) and (place, name) in patch.places:
            return patch.original(place, name)
    raise LookupError(f"{place}.{name} is not in the table of patches")


