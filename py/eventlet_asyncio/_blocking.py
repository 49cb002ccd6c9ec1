"""Finds code that blocks the thread of a hub: what `eventlet.debug.hub_blocking_detection` turns on.

A hub notes when it begins a piece of work. A thread of the watcher's own looks at that note, and
has an exception that names the culprit raised in work that takes too long: in the main thread by a
signal, which ends system calls too, in any other at the next bytecode. Work that goes on all the
same is shown on stderr.
"""

import inspect
import linecache
import os
import signal
import sys
import traceback
import weakref

from eventlet import patcher

threading = patcher.original("threading")

# How often the work is looked at within the time that it may take.
LOOKS = 4

_watchers: weakref.WeakSet = weakref.WeakSet()


def _place(frame):
    """As inspect.getframeinfo(), which looks at the files of all modules: each look waits for the lock
    that the blocking thread holds."""
    name, number = frame.f_code.co_filename, frame.f_lineno
    line = linecache.getline(name, number, frame.f_globals)
    context, index = ([line], 0) if line else (None, None)
    return inspect.Traceback(name, number, frame.f_code.co_name, context, index)


def run_bytecode():
    """What this thread was to raise at its next bytecode is raised here."""


class Watcher:
    """Watches the work of the running thread until it is stopped."""

    def __init__(self, watch, resolution):
        self.resolution = resolution
        self._watch = watch
        self._thread = threading.get_ident()
        # Numbers of the work that was struck last, and shown last.
        self._struck = self._shown = None
        try:
            self._old_handler = signal.signal(signal.SIGALRM, self._raise)
            self._by_signal = True
        except ValueError:
            # Not the main thread.
            self._by_signal = False
        watch.start()
        _watchers.add(self)
        self._start()

    def _start(self):
        self._stopped = threading.Event()
        threading.Thread(
            target=self._run, args=(self._stopped,), name="blocking detection", daemon=True
        ).start()

    def stop(self):
        """Watch no longer."""
        self._stopped.set()
        self._watch.stop()
        _watchers.discard(self)
        if self._by_signal and self._thread == threading.get_ident():
            if signal.getsignal(signal.SIGALRM) == self._raise:
                signal.signal(signal.SIGALRM, self._old_handler)

    def _run(self, stopped):
        while not stopped.wait(self.resolution / LOOKS):
            busy = self._watch.busy()
            if busy is not None:
                self._look(*busy)

    def _look(self, number, seconds):
        frame = sys._current_frames().get(self._thread)
        if seconds < self.resolution or frame is None:
            return
        if number != self._struck:
            self._struck = number
            self._strike(number, f"Blocking detector ALARMED at{_place(frame)}")
        elif seconds >= 2 * self.resolution and number != self._shown:
            self._shown = number
            stack = "".join(traceback.format_stack(frame))
            sys.stderr.write(f"Blocking detector: blocked for {seconds:.3g} s, now at\n{stack}")
            sys.stderr.flush()

    def _strike(self, number, words):
        def __init__(self, *_):
            RuntimeError.__init__(self, words)

        # What the interpreter can raise in another thread is a class, without arguments.
        blocked = type("RuntimeError", (RuntimeError,), {"__init__": __init__})
        blocked.__module__ = "builtins"
        if self._watch.strike(number, blocked, self._by_signal) and self._by_signal:
            signal.pthread_kill(self._thread, signal.SIGALRM)

    def _raise(self, signum, frame):
        """Handles the signal; the work for which it was sent may be over."""
        struck = self._watch.take_struck()
        if struck is not None:
            raise struck


def _restart():
    """The watchers' threads are not in a forked child."""
    for watcher in list(_watchers):
        watcher._start()


os.register_at_fork(after_in_child=_restart)
