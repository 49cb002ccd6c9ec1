"""The extension module: thin bindings over the engine and the crossing. Private.

Users see `EventLoop`, `Hub`, the functions of the bridge and eventlet's own, for which native equals
stand here. Classes belong to the OS thread that made them, but for `call_soon_threadsafe` and `Watch`.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Literal, TextIO, TypeVar, final
from typing_extensions import TypeVarTuple, Unpack, disjoint_base

from eventlet import Timeout
from eventlet.greenio import GreenSocket
from eventlet.greenthread import GreenThread
from greenlet import greenlet

from eventlet_asyncio._sockets import Peer, SocketCall, Transports, accept_connections, ensure_free, sock_accept, sock_connect, sock_recv, sock_recv_into, sock_recvfrom, sock_recvfrom_into, sock_sendall, sock_sendto
from eventlet_asyncio._transports import Datagram, DatagramCore, Stream, StreamCore, can_datagram, open_stream, write_method

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

__all__ = [
    "abandon_step", "accept_connections", "after_fork", "any_of", "append_if_room", "await_", "await_green_thread", "begin_future_green_thread", "cache_stack_chunks", "call_soon_method", "call_to_stop_at_exit", "CallbackRun", "can_datagram", "cancel_timeout",
    "check_block", "check_hub", "count_done", "Crossing", "current_step", "Datagram", "DatagramCore", "discharge", "Driver", "end_thread", "enlist", "ensure_free", "enter_timeout", "exchange", "exit_timeout", "FdListener", "first_for_permit",
    "ForeignLoop", "get_ident", "go_on", "GreenAwait", "GreenWait", "Guard", "Handle", "hub_of_thread", "hub_to_wait_in", "HubCore", "init_future_green_thread", "init_green_thread", "init_timeout", "is_here", "is_stranded", "join_event",
    "leave_semaphore", "leave_for", "LoopCore", "method", "open_stream", "owner", "park", "pass_to_step", "Peer", "recv_loop", "reopen_join", "reserve_wakeup", "restore", "send_event", "set_awaited", "set_block_check", "sleep", "sock_accept", "sock_connect", "sock_recv",
    "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall", "sock_sendto", "SocketCall", "spawn", "spawn_n", "start_timeout", "Step", "Stream", "StreamCore", "switch_carrier", "take_permit", "take_permit_or_join",
    "take_permit_or_rejoin", "Timer", "TimerHandle", "trampoline", "Transports", "unpark", "wait_for_event", "wake", "wake_for_permit", "Waker", "Watch", "write_method", "__version__",
]

__version__: str
def abandon_step() -> None:
    """Leave the running step without running loop and task if its hub is no longer the thread's."""
def after_fork() -> None:
    """Part, in a forked child, from what tells the parent of signals; the step that forked has its loop again."""
def current_step() -> Step | None:
    """The step that runs; None outside asyncio callbacks."""
def end_thread() -> None:
    """Let go of what is kept for the running OS thread, as it ends: no greenlet of it runs any more."""
def owner() -> asyncio.Task[Any] | CallbackRun | greenlet:
    """Whom green code takes for the running green thread."""
def get_ident(gr: greenlet | None = None) -> int:
    """A number for the running task or green thread, or for the greenlet that is given."""
def set_block_check(check: Callable[[object, bool], object] | None) -> None:
    """Have a function called before each green block, with whom blocks and whether that is in a step."""
def check_block() -> None:
    """Raise what stands against a green block of the running greenlet, if anything does."""
def check_hub() -> None:
    """Raise what stands against a wait for this thread's hub, which may wait for a loop that its callback runs."""
def set_awaited(task: asyncio.Task[Any], awaited: object | None, /) -> None:
    """Set what a task awaits that runs, whose `cancel()` is called when the task is cancelled."""
def park() -> Step | None:
    """Park the running step, if any, with its identity, before its greenlet blocks in a hub that is not ours."""
def reserve_wakeup() -> None:
    """Have descriptors to spare, which a forked child that can open none gives to its pollers."""
def call_to_stop_at_exit(function: Callable[..., _T], /, *args: Any, **kwargs: Any) -> _T:
    """Call a function, below which a thread stops that outlives the interpreter, which unwinds it."""
def restore(carrier: greenlet) -> None:
    """Give a step its identity back before something is thrown at its carrier."""
def go_on() -> None:
    """Give the running greenlet its own identity, or none, after a switch that was no green block."""
def leave_for(target: greenlet) -> None:
    """Leave the running step without its identity before a switch to a greenlet that is not part of it."""
def unpark(step: Step) -> None:
    """Make a parked step, whose greenlet goes on, the running one again."""

def call_soon_method(class_: type, /) -> Any:
    """`call_soon` as a method of a class of loops, for whose own objects CPython calls it directly."""
def spawn(func: Callable[..., Any], *args: Any, **kwargs: Any) -> GreenThread:
    """`eventlet.spawn`: have a green thread run the function when its turn comes."""
def spawn_n(func: Callable[..., Any], *args: Any, **kwargs: Any) -> greenlet:
    """`eventlet.spawn_n`: as `spawn`, with a plain greenlet, whose result nobody can ask for."""

def await_(awaitable: Awaitable[_T]) -> _T:
    """`eventlet_asyncio.await_`."""

def await_green_thread(green: GreenThread) -> Any:
    """`GreenThread.__await__`: a GreenAwait where a loop of ours runs."""

def pass_to_step(parent: greenlet, value: Any, error: BaseException | None) -> Any:
    """Go on for a TaskParent: at first to its `begun_by`, then to the carrier of the step that runs."""
def switch_carrier(carrier: greenlet, /, *args: Any, **kwargs: Any) -> Any:
    """`Carrier.switch`: switch to the carrier, or where the caller's task is what runs, to the one it runs on."""

def trampoline(
    fd: Any,
    read: bool | None = None,
    write: bool | None = None,
    timeout: float | None = None,
    timeout_exc: Any = None,
    mark_as_closed: Callable[[], object] | None = None,
) -> Any:
    """`eventlet.hubs.trampoline`: block greenly until a descriptor is ready.

    After *timeout* seconds *timeout_exc* is raised, or `eventlet.Timeout`. RuntimeError when the hub's
    own greenlet would block, and unless exactly one of *read* and *write* is true.
    """

def wait_for_event(event: object, /) -> Any:
    """`Event.wait()`, without a frame of Python's where the method is the one that our hub has put there."""
def init_future_green_thread(
    green: Any, awaitable: Any, running_loop: Any, autostart: bool, autocancel: bool, autokill: bool, /
) -> None:
    """`FutureGreenThread.__init__`, and that of its base."""
def begin_future_green_thread(green: Any, /) -> None:
    """The hub has come to a FutureGreenThread, which asks for its result."""
def init_green_thread(green: GreenThread, /, parent: greenlet) -> None:
    """`GreenThread.__init__`."""
def init_timeout(
    timeout: Timeout, /, seconds: float | None = None, exception: Any = None
) -> None:
    """`Timeout.__init__`: begins at once, unless *seconds* is None."""
def start_timeout(timeout: Timeout, /) -> Timeout:
    """`Timeout.start`. AssertionError when it is pending."""
def cancel_timeout(timeout: Timeout, /) -> None:
    """`Timeout.cancel`."""
def enter_timeout(timeout: Timeout, /) -> Timeout:
    """`Timeout.__enter__`."""
def exit_timeout(timeout: Timeout, typ: Any, value: Any, tb: Any) -> bool | None:
    """`Timeout.__exit__`, for which also the cancel counts by which it reached a task."""
def recv_loop(
    green: GreenSocket, receive: Callable[..., Any], empty: Any, /, *args: Any
) -> Any:
    """`GreenSocket._recv_loop`: call *receive* when there is something, or return *empty* after a reset."""
def method(function: Callable[..., Any]) -> Any:
    """A method of a class made from a native function."""

def cache_stack_chunks(enabled: bool) -> None:
    """Keep up to 1 MiB of the memory of ended greenlets for the next ones, or give it back.

    Does nothing on Python 3.10.
    """

# Threads. A greenlet can only be switched to in its own OS thread.

def enlist(hub: object) -> int:
    """Make a hub the one that other threads find for greenlets of this thread; gives the thread's key."""

def discharge(hub: int, key: int) -> None:
    """Forget a hub, by its `id()`, that has ended, unless its thread has another by now."""

def is_here(greenlet: object) -> bool:
    """Whether a greenlet belongs to this thread."""
def is_stranded(greenlet: greenlet) -> bool:
    """Whether the thread of a greenlet has ended, so that nobody can switch to it."""
def hub_of_thread() -> Any | None:
    """The hub of this thread, of whatever kind; None if it has none."""
def hub_to_wait_in() -> Any:
    """The hub of this thread, made if there is none, that other threads can find from now on."""

def wake(greenlet: object, callback: Callable[..., object], /, *args: object) -> bool:
    """Have the hub of a greenlet's thread call back in its next turn; False when none is known."""

# Parts of eventlet's primitives, done in one piece: no other thread comes in between.

def join_event(event: object, waiter: greenlet) -> bool:
    """Register who is about to wait for an Event, unless that was sent."""
def send_event(event: object, result: object, exception: tuple[Any, ...] | None) -> bool:
    """Give an Event its result and wake all who wait; False when it was sent before."""
def take_permit(semaphore: object) -> bool:
    """Take a permit of a Semaphore, if there is one."""
def take_permit_or_join(semaphore: object, waiter: greenlet) -> bool:
    """Take a permit if there is one and nobody waits for it; else register who is about to wait."""
def take_permit_or_rejoin(semaphore: object, waiter: greenlet) -> bool:
    """Take a permit if there is one; else register who was woken in vain as the next again."""
def leave_semaphore(semaphore: object, waiter: greenlet, taken: bool) -> None:
    """Unregister who has ended its wait; without a permit it passes on the wake that it may have got."""
def wake_for_permit(semaphore: object) -> None:
    """Have the first woken who waits for a permit, in its own thread."""
def first_for_permit(semaphore: object) -> greenlet | None:
    """Unregister the first who waits for a permit that is there, if it belongs to this thread.

    One of another thread is woken there instead.
    """
def append_if_room(queue: object, item: object, counted: bool) -> bool:
    """Append an item to the container of a bounded Queue, if there is room, and count it first."""
def reopen_join(queue: object) -> None:
    """Make `join()` of a Queue wait again, if there are items that were not worked on."""
def count_done(queue: object) -> bool:
    """Count an item that was worked on, and end `join()` with the last; False if that is one too many."""
def any_of(members: set[Any]) -> Any | None:
    """One member of a set, or None."""
def exchange(object: object, name: str, value: object) -> Any:
    """Put another value into an attribute, and give the old one."""

@final
class Guard:
    """Makes calls one at a time, whatever Python code they run."""

    def call(self, function: Callable[..., Any], first: object, second: object = ...) -> Any:
        """Call a function, when no other thread is about a call."""

def sleep(seconds: float = 0.0) -> None:
    """`eventlet.sleep`: let others run until at least so many seconds have passed.

    In a thread whose hub is not ours it is eventlet's own function.

    Raises RuntimeError in the hub's own greenlet, unless *seconds* is 0.
    """

@disjoint_base
class Handle:
    """A callback that a loop will make; `isinstance(handle, asyncio.Handle)` holds."""

    def cancel(self) -> None:
        """Keep the callback from being called; more than once is the same as once."""

    def cancelled(self) -> bool:
        """Whether cancel() was called."""

    def get_context(self) -> contextvars.Context | None:
        """The context in which the callback runs."""

    def _run(self) -> None: ...
    @property
    def _callback(self) -> Callable[..., object] | None: ...
    @property
    def _args(self) -> tuple[Any, ...] | None: ...
    @property
    def _context(self) -> contextvars.Context | None: ...
    @property
    def _loop(self) -> LoopCore | None: ...
    @property
    def _cancelled(self) -> bool: ...
    @property
    def _source_traceback(self) -> Any: ...

@final
class TimerHandle(Handle):
    """A callback that a loop will make at a time; `isinstance(handle, asyncio.TimerHandle)` holds."""

    def cancel(self) -> None:
        """Keep the callback from being called, and free it at once."""

    def when(self) -> float:
        """When the callback is due, in seconds on the loop's clock."""

    @property
    def _when(self) -> float: ...
    @property
    def _scheduled(self) -> bool: ...
    def __hash__(self) -> int: ...
    def __eq__(self, value: object, /) -> bool: ...
    def __lt__(self, value: TimerHandle, /) -> bool: ...
    def __le__(self, value: TimerHandle, /) -> bool: ...
    def __gt__(self, value: TimerHandle, /) -> bool: ...
    def __ge__(self, value: TimerHandle, /) -> bool: ...

@disjoint_base
class LoopCore:
    """The native half of EventLoop: its engine, and the scheduling calls of asyncio."""

    def __new__(cls, *args: Any, **_kwargs: Any) -> LoopCore: ...
    def time(self) -> float:
        """Seconds on the loop's clock, which is `time.monotonic()`."""

    def is_running(self) -> bool: ...
    def is_closed(self) -> bool: ...
    def get_debug(self) -> bool: ...
    def create_future(self) -> asyncio.Future[Any]: ...
    def create_task(
        self, coro: Coroutine[Any, Any, _T] | Generator[Any, None, _T], *, name: object = None, **options: Any
    ) -> asyncio.Task[_T]: ...
    def call_soon(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: Unpack[_Ts],
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """Call back in the next turn, behind what stands there already. Raises RuntimeError if it is closed."""

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[_Ts]], object],
        *args: Unpack[_Ts],
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """call_soon() for any thread; the two share one order. Raises RuntimeError if it is closed."""

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: Unpack[_Ts],
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back when *delay* seconds have passed: never earlier.

        Equal times are called in the order in which they were asked for. Not-a-number never comes.

        Raises TypeError if *delay* is None, RuntimeError if the loop is closed.
        """

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: Unpack[_Ts],
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call back at *when*, in seconds on the loop's clock: never earlier. Not-a-number never comes.

        Raises TypeError if *when* is None, RuntimeError if the loop is closed.
        """

    def _timer_handle_cancelled(self, _handle: Any) -> None: ...
    def _write_to_self(self) -> None: ...
    def _add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> Handle: ...
    def _add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> Handle: ...
    def _remove_reader(self, fd: Any) -> bool: ...
    def _remove_writer(self, fd: Any) -> bool: ...
    def _watchers(self, fd: int) -> tuple[Handle | None, Handle | None]: ...
    def _run(self) -> None: ...
    def _release(self) -> None: ...
    def _rebuild(self) -> None: ...
    def _has_hub(self) -> bool: ...
    def _had_green_code(self) -> bool: ...
    def _was_left(self) -> bool: ...
    def _parked_steps(self) -> list[Step]: ...
    def _driven_by(self) -> str: ...
    @property
    def _debug(self) -> bool: ...
    @_debug.setter
    def _debug(self, value: object) -> None: ...
    @property
    def _task_factory(self) -> Callable[..., Any] | None: ...
    @_task_factory.setter
    def _task_factory(self, value: Callable[..., Any] | None) -> None: ...

@final
class Watch:
    """What a hub is busy with, noted for a watcher in another thread."""

    def start(self) -> None:
        """Note the work of the running thread from now on."""

    def stop(self) -> None:
        """Note no work any more."""

    def busy(self) -> tuple[int, float] | None:
        """The number of the work under way, and how many seconds it has taken."""

    def strike(self, number: int, kind: type[BaseException], by_signal: bool) -> bool:
        """Have an exception raised in a piece of work; False if that is over.

        Without *by_signal* it is raised at the next bytecode, else by who handles the signal.
        """

    def take_struck(self) -> type[BaseException] | None:
        """What a signal handler is to raise in the work under way."""

@disjoint_base
class HubCore:
    """The native half of Hub: green threads, timers and listeners on the engine of a loop."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> HubCore: ...
    @property
    def greenlet(self) -> greenlet:
        """The greenlet that runs the hub."""

    @property
    def loop(self) -> LoopCore:
        """The loop whose engine the hub shares; one of the hub's own unless another runs here."""

    @property
    def running(self) -> bool:
        """Whether run() was entered and has not returned."""

    @property
    def stopping(self) -> bool:
        """Whether abort() was called and the hub has not stopped yet."""

    @property
    def listeners(self) -> dict[str, dict[int, FdListener]]:
        """The first listener of each descriptor, by "read" and "write"; a copy."""

    @property
    def secondaries(self) -> dict[str, dict[int, list[FdListener]]]:
        """The further listeners of each descriptor, by "read" and "write"; a copy."""

    def _timers(self) -> list[tuple[float, Any]]:
        """Pending timers, each with its time in seconds, earliest first; for a green thread to be

        switched to: the method, its arguments and its keyword arguments.
        """

    def _trace_listeners(self, state: bool) -> None:
        """Whether listeners are to note the stack of who makes them."""

    def timer_canceled(self, timer: Any) -> None:
        """Let go of a timer of eventlet's own class that was cancelled."""

    @property
    def timers_canceled(self) -> int:
        """How many cancelled timers eventlet's own hubs would still hold; ours holds none. Can be set to 0 only."""

    @timers_canceled.setter
    def timers_canceled(self, value: int) -> None: ...
    @property
    def _watch(self) -> Watch: ...
    def switch(self) -> Any:
        """Block the running greenlet and let others run, until somebody switches to it.

        Returns what it is switched to with, raises what it is thrown. Raises AssertionError on the hub's
        own greenlet, RuntimeError in a task of a loop that is not ours.
        """

    def run(self, *_args: Any, **_kwargs: Any) -> None:
        """Run turns until abort(); the hub's greenlet does that.

        Raises RuntimeError if the hub runs already.
        """

    def ensure_greenlet(self) -> None:
        """Make a new greenlet for the hub if the old one has ended."""

    def schedule_call_global(
        self, seconds: float, cb: Callable[..., object], *args: Any, **kw: Any
    ) -> Timer:
        """Make a call once, when so many seconds have passed; never earlier.

        Calls without a delay are made in the order in which they were asked for; one whose delay is
        not-a-number is never made. A green thread that the call starts, and that has no context
        yet, gets a copy of the caller's.

        Raises TypeError if *seconds* is not a number, RuntimeError if the hub's loop is closed.
        """

    def schedule_call_local(
        self, seconds: float, cb: Callable[..., object], *args: Any, **kw: Any
    ) -> Timer:
        """The same, unless the greenlet that asks for it has ended by then.

        Raises what schedule_call_global() raises.
        """

    def add_timer(self, timer: Any) -> float:
        """Take a timer of eventlet's own class; return when it is due, in seconds on the hub's clock.

        Raises TypeError if its `seconds` is not a number, RuntimeError if the hub's loop is closed.
        """

    def get_timers_count(self) -> int:
        """How many timers are pending, and cancelled as by `timers_canceled`."""

    def add(
        self,
        evtype: str,
        fileno: int,
        cb: Callable[[int], object],
        tb: Callable[..., object],
        mark_as_closed: Callable[[], object] | None,
    ) -> FdListener:
        """Call *cb* with *fileno* each time the descriptor is ready, until remove().

        evtype: "read" or "write". tb: raises an exception in the greenlet that listens.
        mark_as_closed: called when the descriptor is found to be closed.

        Raises RuntimeError for a second listener of the same kind, unless
        `eventlet.debug.hub_prevent_multiple_readers(False)` was called; OSError if the descriptor
        cannot be watched.
        """

    def remove(self, listener: FdListener) -> None:
        """Listen no more; the listener is not called again."""

    def _attach(self) -> None: ...
    def _detach(self) -> LoopCore | None: ...
    def _listeners_of(self, fileno: int) -> list[FdListener]: ...
    def _meet_foreign(self) -> None: ...
    def _stop(self) -> None: ...

@final
class FdListener:
    """Green code's interest in one direction of one descriptor; HubCore.add() makes it."""

    spent: bool

    @property
    def evtype(self) -> Literal["read", "write"]: ...
    @property
    def fileno(self) -> int: ...
    @property
    def cb(self) -> Callable[[int], object]: ...
    @property
    def tb(self) -> Callable[..., object] | None: ...
    @property
    def mark_as_closed(self) -> Callable[[], object] | None: ...
    @property
    def greenlet(self) -> greenlet | None: ...
    @property
    def where_called(self) -> list[str]:
        """The stack of who made the listener.

        Raises AttributeError unless `eventlet.debug.hub_listener_stacks` was on then.
        """

    def defang(self) -> None:
        """Call back no more, and tell the owner that the descriptor is closed."""

@final
class Timer:
    """A call that a hub will make once."""

    def cancel(self) -> None:
        """Keep the call from being made, and free it at once."""

    def __call__(self, *_args: Any) -> None:
        """Make the call now, unless it was made or cancelled."""

    @property
    def called(self) -> bool:
        """Whether the call was made or cancelled."""

    @property
    def pending(self) -> bool:
        """Whether the call is still to be made."""

    @property
    def seconds(self) -> float:
        """The delay that was asked for, in seconds."""

    @property
    def scheduled_time(self) -> float:
        """When the call is due, in seconds on the hub's clock."""

    @property
    def tpl(self) -> tuple[Callable[..., object], tuple[Any, ...], dict[str, Any]]:
        """The call: function, arguments and keyword arguments.

        Raises AttributeError once the call was made or cancelled.
        """

    @property
    def traceback(self) -> TextIO:
        """The stack of who made the timer.

        Raises AttributeError unless `eventlet.debug.hub_timer_stacks` was on then.
        """

    def __lt__(self, value: object, /) -> bool: ...
    def __gt__(self, value: object, /) -> bool: ...

@final
class Crossing:
    """One awaited result between green code and asyncio: a state machine that is fed and drained.

    start, end, drop: called when the source is to start, to end, or to be dropped unstarted.
    autostart: start as soon as begin() is called. end_source: a kill or timeout of the waiting side
    ends the source. end_awaiters: a source that is cancelled before anybody asked ends the waiting
    side by GreenletExit.
    """

    def __new__(
        cls, start: Callable[[], object], end: Callable[[], object], drop: Callable[[], object], *,
        autostart: bool = True, end_source: bool = True, end_awaiters: bool = True,
    ) -> Crossing: ...
    @staticmethod
    def of_green_thread(green: GreenThread) -> Crossing:
        """That of a green thread, which is made if there is none."""

    def __call__(self, ended: GreenThread | asyncio.Future[Any]) -> None:
        """The green thread has ended: what it has linked; or the future for which one stands."""

    def begin(self) -> None:
        """Do what is due after the crossing was made."""
    def started(self) -> bool:
        """The source takes its first step; False: it must not."""
    def kill_is_due(self) -> None:
        """The source is about to be killed: if it ends before, those who wait see the kill."""
    def kill_strikes(self) -> None:
        """A kill that was due strikes."""
    @property
    def has_due_kill(self) -> bool:
        """Whether a kill is due that has yet to strike."""
    def add_awaiter(self, wake: Callable[[], object]) -> Any:
        """Somebody waits: *wake* is called once, when there is an outcome."""
    def leave(self, awaiter: Any) -> bool:
        """One who waited does no more; the last one's leaving may end the source."""
    def kill(self, exception: BaseException) -> bool:
        """The waiting side is killed; False: too late."""
    def timeout(self, exception: BaseException) -> bool:
        """A time limit of the waiting side has passed; False: too late."""
    def settle(self, future: asyncio.Future[Any]) -> None:
        """The future behind it has ended."""
    def returned(self, value: Any) -> None:
        """The source returned."""
    def raised(self, exception: BaseException) -> None:
        """The source raised."""
    def cancelled(self, exception: BaseException | None = None) -> None:
        """The source was cancelled or killed, by the exception given."""

    def done(self) -> bool:
        """Whether there is an outcome."""

    @property
    def begun(self) -> bool:
        """Whether the hub has come to the green thread that stands for the source."""

    def result(self) -> Any:
        """Return or raise what every awaiter sees.

        Raises RuntimeError if there is no outcome yet.
        """

    @property
    def awaiter_count(self) -> int:
        """How many wait."""

@final
class CallbackRun:
    """Stands for one run of a callback that belongs to no task."""

@final
class Step:
    """One greenlet that runs asyncio callbacks, and what it is busy with."""
    def __call__(self, *_args: Any) -> None: ...
    @property
    def carrier(self) -> Any:
        """The greenlet."""
    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task whose step is parked here; None while it runs."""
    @property
    def lives(self) -> bool | None:
        """Whether what this greenlet stands for is not over; None where it stands for nothing but itself."""
    @property
    def stood_for(self) -> asyncio.Task[Any] | None:
        """The task for which this greenlet stands, as the program has kept it."""
    @property
    def callback(self) -> int:
        """The number of the callback that is under way, or was last."""
    @property
    def busy(self) -> bool:
        """Whether a callback runs, or is parked, on the greenlet."""
    @property
    def blocked(self) -> greenlet | None:
        """The greenlet that blocks, while the step is parked."""
    @property
    def waits(self) -> greenlet | None:
        """The greenlet that waits in this step, which does not run: it blocks, is away in `kill()`, or is the carrier."""
    @property
    def waits_for(self) -> asyncio.Future[Any] | None:
        """The future for which `await_` waits in this step."""
    @waits_for.setter
    def waits_for(self, future: asyncio.Future[Any] | None) -> None: ...
    @property
    def due_cancel(self) -> asyncio.CancelledError | None:
        """What the step raises where it is parked, as soon as it goes on."""
    def set_due_cancel(self, exception: asyncio.CancelledError, task: asyncio.Task[Any] | None) -> bool:
        """Make a cancel of a task due; False when one is due already."""
    def take_due_cancel(self) -> asyncio.CancelledError | None:
        """The cancel that is due, which is due no more."""

@final
class GreenAwait:
    """One `await` of a green thread: the iterator, and the future that it yields to its task."""

    _asyncio_future_blocking: bool
    def __iter__(self) -> GreenAwait: ...
    def __next__(self) -> GreenAwait: ...
    def get_loop(self) -> LoopCore: ...
    def done(self) -> bool: ...
    def result(self) -> Any: ...
    def add_done_callback(self, callback: Callable[..., object], *, context: Any | None = None) -> None: ...
    def remove_done_callback(self, callback: Callable[..., object]) -> int: ...
    def cancel(self, msg: Any | None = None) -> bool:
        """Leave the green thread, which is killed if nobody else waits; done when it has ended."""

@final
class GreenWait:
    """What a task awaits while a step of it blocks greenly."""
    @property
    def step(self) -> Step | None: ...
    def cancel(self, msg: Any | None = None) -> bool:
        """Raise CancelledError where the step blocks; whether it will."""

@final
class Waker:
    """Wakes a greenlet that waits in a hub of ours, once, when its turn comes."""
    def __call__(self, *_args: Any) -> None: ...
    @property
    def greenlet(self) -> greenlet | None:
        """The greenlet that waits."""

    @property
    def awaited(self) -> asyncio.Future[Any] | None:
        """The future that it waits for."""

@final
class Driver:
    """Runs the turns of an engine."""

@final
class ForeignLoop:
    """A loop that is not ours as the host of a hub: it watches one descriptor and one deadline."""
    def __call__(self, *_args: Any, **_kwargs: Any) -> None:
        """Run the hub's turns until it waits, or looks at its descriptors."""
