"""The event loop: a native core in front of the standard library's selector loop.

What is hot is native: scheduling, timers, readiness and running (`_evio.LoopCore`), what stream
transports receive and send (`_transports`), and sockets of the program's (`_sockets`). The rest is
inherited from asyncio.SelectorEventLoop, whose queues, selector and self-pipe are never made. The
inherited methods that expect them find what `_inherited` has in their places.
"""

import asyncio
import contextlib
import os
import sys
import types
import weakref
from asyncio import base_events, coroutines, events

from eventlet_asyncio import _evio, _imports, _inherited, _signals, _sockets, _stdlib, _tls, _transports

_loops = weakref.WeakSet()


class _TaskFactory:
    """A task factory of the program's, whose tasks start at once only where the loop runs.

    An eager task takes its first step where it is made, and asks its loop whether it runs. In green
    code the loop does, in the same thread even, and yet there is no running loop for that step.
    """

    def __init__(self, factory):
        self.factory = factory

    def __call__(self, loop, coro, **options):
        if asyncio._get_running_loop() is loop:
            creator = asyncio.current_task(loop)
            if creator is None:
                return self.factory(loop, coro, **options)
            with _Creation(loop, creator):
                return self.factory(loop, coro, **options)
        outer, loop._is_elsewhere = loop._is_elsewhere, True
        try:
            return self.factory(loop, coro, **options)
        finally:
            loop._is_elsewhere = outer


class _Creation:
    """What a task waits for while another that it makes takes its first step, which may block greenly.

    A cancel of the creator that comes meanwhile strikes where it awaits or blocks next, if it was not taken
    back before: what asyncio notes of it would outlive its uncancel() in Python 3.12, and strikes no green block.
    """

    def __init__(self, loop, creator):
        self._loop, self._creator = loop, creator
        self._step = _evio.current_step()
        self._cancel = None

    def cancel(self, msg=None):
        if _evio.current_step() is self._step:
            # The new task does it itself: as in asyncio.
            return False
        if self._cancel is None:
            from eventlet_asyncio import _strikes

            self._cancel = _strikes.cancel_of(self._creator, msg)
        return True

    def __enter__(self):
        _evio.set_awaited(self._creator, self)

    def __exit__(self, *_exc_info):
        _evio.set_awaited(self._creator, None)
        if self._cancel is not None:
            from eventlet_asyncio import _strikes

            self._loop.call_soon(_strikes.cancel_left, self._creator, self._cancel)


class EventLoop(_evio.LoopCore, _sockets.SocketMethods):
    """A complete asyncio event loop whose callbacks may block greenly."""

    #: The hub whose own loop this is: it ends with that hub and cannot be closed before.
    _owner = None

    #: What closes it when the thread ends in which it ran last.
    _thread_end = None

    _scheduled = _inherited.Scheduled()

    #: asyncio's own way to end a wait finds nothing to do: whatever adds work has done so.
    _csock = None

    #: nest_asyncio takes it for patched: what it would put in a loop's place cannot drive this one.
    _nest_patched = True

    # For the end of a loop whose making was interrupted.
    _signal_handlers = ()

    # Kept here, since at the end of the program a loop may outlive what modules hold.
    _program_ends = staticmethod(sys.is_finalizing)
    _close_base = base_events.BaseEventLoop.close

    def __init__(self):
        base_events.BaseEventLoop.__init__(self)
        self._ready = _inherited.Ready(self)
        self._selector = _inherited.Selector(self)
        self._internal_fds = 1  # The engine's waker.
        self._pid = os.getpid()
        self._transports = _sockets.Transports()
        self._signal_handlers = {}
        if sys.version_info >= (3, 13):
            self._unix_server_sockets = {}
        watch_forks()
        _loops.add(self)

    def __repr__(self):
        return (
            f"<{type(self).__name__} running={self.is_running()} closed={self.is_closed()} "
            f"debug={self.get_debug()} driven by {self._driven_by()}>"
        )

    def set_task_factory(self, factory):
        """Have a factory make all tasks; one of None has asyncio.Task do so."""
        super().set_task_factory(factory)
        if factory is not None:
            self._task_factory = _TaskFactory(factory)

    def get_task_factory(self):
        """Return the factory that was set, or None."""
        factory = super().get_task_factory()
        return factory.factory if isinstance(factory, _TaskFactory) else factory

    def run_forever(self):
        """Run until stop() is called; in a green thread, only that thread waits for it."""
        self._check_closed()
        if self._owner_hub() is not None:
            return self._run_in_hub()
        self._check_running()
        choose_hub()
        sides = _sides()
        if sides is not None:
            sides._threads.ThreadEnd.close_at_end(self)
        self._set_coroutine_origin_tracking(self._debug)
        try:
            self._run()
        finally:
            self._set_coroutine_origin_tracking(False)

    def _check_running(self):
        running = asyncio._get_running_loop()
        if running is None and not self.is_running():
            return
        sides = None if running is None else _sides()
        if self.is_running() or sides is None or not sides.can_step_aside(running):
            # Not that of the class between, where nest_asyncio puts one that refuses nothing.
            base_events.BaseEventLoop._check_running(self)

    def run_until_complete(self, future):
        """Run until the future is done and return its result, or raise its exception.

        What is thrown at green code that waits for this cancels the future, and is raised when that has ended.
        """
        self._check_closed()
        if self._owner_hub() is not None:
            from eventlet_asyncio import bridge

            return bridge.await_(asyncio.ensure_future(future, loop=self))
        self._check_running()
        is_new = not asyncio.isfuture(future)
        future = asyncio.ensure_future(future, loop=self)
        if is_new:
            # Who is told of what ends the run need not hear that it was still pending.
            future._log_destroy_pending = False
        try:
            return self._run_until(future)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exception:
            if future.done() or not self._was_left():
                raise
            from eventlet_asyncio import _await

            return _await.run_to_its_end(self._run_until, future, exception)
        finally:
            if is_new and future.done() and not future.cancelled():
                # Whatever was raised, nobody else will ask for it.
                future.exception()

    def _run_until(self, future):
        is_over = False

        def stop(future):
            if not is_over:
                base_events._run_until_complete_cb(future)
            elif not future.cancelled():
                # It was on its way when something else ended the run, and asks no less for what that was.
                future.exception()

        future.add_done_callback(stop)
        try:
            self.run_forever()
        finally:
            is_over = True
            future.remove_done_callback(stop)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def stop(self):
        """Stop run_forever() after the turn; a hub that runs on this loop goes on."""
        if self._owner_hub() is None:
            super().stop()
        else:
            self._stop_in_hub()

    async def shutdown_asyncgens(self):
        """End the loop's asynchronous generators, and what green code waits for here; see asyncio's."""
        sides = _sides()
        if sides is not None and self._owner_hub() is None:
            await sides._homes.end_green_waits(self)
        await super().shutdown_asyncgens()

    def close(self):
        """Close the loop, which must not be running."""
        if not self._program_ends():
            self._end_green_blocks()
        self._close()

    def _end_green_blocks(self):
        if self._owner_hub() is not None:
            raise RuntimeError(
                "this loop belongs to the hub of its thread and ends with it: "
                "close only loops that you made"
            )
        sides = _sides()
        if sides is not None and not (self.is_running() or self.is_closed()):
            waited_for = sides._homes.leave_green_blocks(self)
            if waited_for and sides.can_run_here(self):
                self.run_until_complete(sides._homes.end_tasks(waited_for))

    def _close_without_thread(self, leave=False):
        """Close the loop of a thread that ends, or that a forked child does not have."""
        if self.is_closed():
            return
        if leave:
            self._leave()
        if os.getpid() != self._pid:
            # The parent goes on with the poller, and must not find it changed.
            self._rebuild()
        self._thread_id = None
        self._close()

    def _close(self):
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if not self._program_ends():
            for signum in list(self._signal_handlers):
                self._forget_signal(signum)
        self._close_base()
        self._release()
        self._internal_fds = 0
        self._selector = None

    def _close_self_pipe(self):
        """asyncio's own close() asks for it; the engine's waker goes with the engine."""

    def add_signal_handler(self, sig, callback, *args):
        """Call back when a signal arrives; see asyncio.loop.add_signal_handler."""
        if coroutines.iscoroutine(callback) or coroutines.iscoroutinefunction(callback):
            raise TypeError("coroutines cannot be used with add_signal_handler()")
        self._check_signal(sig)
        self._check_closed()
        _signals.add(self, sig)
        self._signal_handlers[sig] = events.Handle(callback, args, self, None)

    def remove_signal_handler(self, sig):
        """Call back no more; see asyncio.loop.remove_signal_handler."""
        self._check_signal(sig)
        if sig not in self._signal_handlers:
            return False
        _signals.check_thread(sig)
        self._forget_signal(sig)
        return True

    def _forget_signal(self, sig):
        """Call back no more; in any thread, as a loop may be closed in any."""
        del self._signal_handlers[sig]
        _signals.remove(self, sig)

    def _handle_signal(self, sig):
        handle = self._signal_handlers.get(sig)
        if handle is not None:
            # A handle for each time: one that is parked, or waits for its context, has its turn.
            self.call_soon_threadsafe(handle._callback, *handle._args, context=handle._context)

    def _make_socket_transport(
        self, sock, protocol, waiter=None, *, extra=None, server=None
    ):
        cls = _transports.SocketTransport
        transport = _transports.open_stream(cls, self, sock, protocol, waiter, extra, server)
        if transport is not None:
            return transport
        if type(extra) is _sockets.Peer:
            extra = {"peername": extra.address()}
        return super()._make_socket_transport(sock, protocol, waiter, extra=extra, server=server)

    _understands_peers = staticmethod(_make_socket_transport)

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None):
        if not _transports.can_datagram(sock):
            return super()._make_datagram_transport(sock, protocol, address, waiter, extra)
        if sys.version_info >= (3, 12):
            _sockets.ensure_free(self, sock)
        return _transports.DatagramTransport(self, sock, protocol, address, waiter, extra)

    def _make_ssl_transport(
        self,
        rawsock,
        protocol,
        sslcontext,
        waiter=None,
        *,
        server_side=False,
        server_hostname=None,
        extra=None,
        server=None,
        **timeouts,
    ):
        ssl_protocol = _tls.protocol_class(
            self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts
        )
        self._make_socket_transport(rawsock, ssl_protocol, extra=extra, server=server)
        return ssl_protocol._app_transport

    async def start_tls(self, transport, protocol, sslcontext, **options):
        """Speak TLS on a connection from now on; see asyncio.loop.start_tls."""
        transport = await super().start_tls(transport, protocol, sslcontext, **options)
        _tls.adopt(transport)
        return transport

    def _owner_hub(self):
        return None if self._owner is None else self._owner()

    def _run_in_hub(self):
        """Parks the green thread until stop(): the hub runs this loop anyway."""
        from eventlet import event

        if self._hub_stop is not None:
            raise RuntimeError("This event loop is already running")
        stopped = self._hub_stop = event.Event()
        if self._stopped_early:
            self._stopped_early = False
            self.call_soon(self._stop_in_hub)
        try:
            stopped.wait()
        finally:
            self._hub_stop = None

    def _stop_in_hub(self):
        if self._hub_stop is None:
            self._stopped_early = True
        elif not self._hub_stop.ready():
            self._hub_stop.send()

    #: What run_forever() waits for on a loop that a hub runs anyway.
    _hub_stop = None

    #: stop() was called first: the next run_forever() runs one turn.
    _stopped_early = False

    def _report_slow_callback(self, handle, seconds):
        if seconds >= self.slow_callback_duration:
            base_events.logger.warning(
                "Executing %s took %.3f seconds", base_events._format_handle(handle), seconds
            )

    def __del__(self, _warn=None):
        if self._owner is not None and not self.is_closed():
            self._owner = None
            self._thread_id = None
            self._close()
        elif _warn is None:
            super().__del__()
        else:
            super().__del__(_warn)


# CPython calls it directly for objects of the class that it was made for.
EventLoop.call_soon = _evio.call_soon_method(EventLoop)


def choose_hub():
    """In a thread that runs a loop of ours and has chosen no hub, eventlet's hub is ours too."""
    hubs = sys.modules.get("eventlet.hubs")
    if hubs is None:
        _eventlet_later.wait()
        return
    chosen = vars(hubs._threadlocal)
    if "hub" not in chosen and "Hub" not in chosen:
        hubs.use_hub(os.environ.get("EVENTLET_HUB", "eventlet_asyncio.hub"))
    kind = type(chosen["hub"]) if "hub" in chosen else chosen["Hub"]
    if kind is not _first_hub and not (isinstance(kind, type) and issubclass(kind, _evio.HubCore)):
        # The loop is a guest of another hub, or will be, which needs the same changes.
        from eventlet_asyncio import _patches

        _patches.apply()


def _choose_later(hubs):
    """Chooses a hub in the threads in which loops of ours run when eventlet is imported."""
    _choose_when_asked(hubs)
    # In one piece: other threads make loops meanwhile.
    for loop in [known() for known in tuple(_loops.data)]:
        if loop is not None and loop.is_running():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_choose_when_asked, hubs)


def _choose_when_asked(hubs):
    # There is no more of eventlet yet than this module.
    if isinstance(asyncio._get_running_loop(), _evio.LoopCore):
        vars(hubs._threadlocal).setdefault("Hub", _first_hub)


def _first_hub():
    """Makes the hub of such a thread."""
    from eventlet import hubs

    del hubs._threadlocal.Hub
    choose_hub()
    return hubs._threadlocal.Hub()


_eventlet_later = _imports.WhenImported("eventlet.hubs", _choose_later)


def _sides():
    """The module of that name, in programs that have two sides."""
    global _known_sides
    if _known_sides is None and "eventlet.hubs" in sys.modules:
        from eventlet_asyncio import _sides

        _known_sides = _sides
    return _known_sides


_known_sides = None


def new_event_loop():
    """A new event loop; `asyncio.run(main(), loop_factory=new_event_loop)`."""
    return EventLoop()


def run(main, *, debug=None):
    """Run a coroutine on a new loop of ours, as asyncio.run() does."""
    if sys.version_info >= (3, 12):
        # Not by its name in asyncio, where nest_asyncio puts another.
        return asyncio.runners.run(main, debug=debug, loop_factory=new_event_loop)
    if sys.version_info >= (3, 11):
        with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
            return runner.run(main)
    return _run_without_runners(main, debug)


def _run_without_runners(main, debug):
    """Before 3.11 asyncio.run() takes its loop from the policy alone."""
    own = asyncio.runners.run
    run_ours = types.FunctionType(
        own.__code__,
        # Its events may be ours already, by which it steps aside below a task.
        {**own.__globals__, "events": _EventsOfOurs(own.__globals__["events"])},
        argdefs=own.__defaults__,
    )
    run_ours.__kwdefaults__ = own.__kwdefaults__
    return run_ours(main, debug=debug)


class _EventsOfOurs(_stdlib.Events):
    """asyncio.events, but for the loop that it makes."""

    new_event_loop = staticmethod(new_event_loop)


class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes loops of ours, and keeps a current loop for each green thread as for each thread."""

    def new_event_loop(self):
        """A new event loop of ours; for eventlet's asyncio hub, which hangs on one, asyncio's own."""
        return super().new_event_loop() if _is_for_asyncio_hub() else EventLoop()

    def _loop_of(self, greenlet):
        policy, loop = getattr(greenlet, "_eventlet_asyncio_loop", (None, None))
        return loop if policy is self else None

    def get_event_loop(self):
        """The loop set for this green thread, or its home loop; else as the default policy."""
        sides = _sides()
        if sides is None:
            return super().get_event_loop()
        greenlet = sides.green_thread()
        loop = self._local._loop if greenlet is None else self._loop_of(greenlet)
        if loop is None:
            loop = sides.green_home_loop()
        return super().get_event_loop() if loop is None else loop

    def set_event_loop(self, loop):
        """Set the current loop of this green thread, or of the thread outside green threads."""
        sides = _sides()
        greenlet = None if sides is None else sides.green_thread()
        if greenlet is None:
            super().set_event_loop(loop)
        else:
            greenlet._eventlet_asyncio_loop = self, loop


def _is_for_asyncio_hub():
    """Whether eventlet's asyncio hub is being made in this thread, which has no loop yet."""
    asyncio_hub = sys.modules.get("eventlet.hubs.asyncio")
    if asyncio_hub is None:
        return False
    chosen = sys.modules["eventlet.hubs"]._threadlocal
    # Old versions of eventlet note it when it is whole.
    hub = getattr(chosen, "hub", None)
    kind = getattr(chosen, "Hub", None) if hub is None else type(hub)
    return kind is not None and kind is getattr(asyncio_hub, "Hub", None) and not hasattr(hub, "loop")


def install():
    """Make asyncio.run() and asyncio.new_event_loop() use loops of ours, by the policy."""
    asyncio.set_event_loop_policy(EventLoopPolicy())


def _after_fork_in_child():
    # First: a poller takes a descriptor for a moment, which this gives back.
    _evio.after_fork()
    # Those last that watch the others' descriptors: rebuilding gives these new descriptions.
    for loop in sorted(_loops, key=EventLoop._has_hub):
        if not loop.is_closed():
            loop._rebuild()
            loop._pid = os.getpid()
    _evio.reserve_wakeup()


_watching_forks = False


def watch_forks():
    """Has loops and hubs of ours go on in forked children; once."""
    global _watching_forks
    if not _watching_forks:
        _watching_forks = True
        os.register_at_fork(after_in_child=_after_fork_in_child)
