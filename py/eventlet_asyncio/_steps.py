"""Steps of tasks that are parked in green code: their greenlets, and how a throw reaches them."""

import asyncio
import functools
import sys
import weakref

from greenlet import GreenletExit, getcurrent, greenlet

from eventlet_asyncio import _evio
from eventlet_asyncio._stdlib import current_task, nothing
from eventlet_asyncio._strikes import Strike, cancel_when_it_blocks, count_cancels


_context = greenlet.gr_context


_dead = greenlet.dead


class Carrier(greenlet):
    """A greenlet that runs asyncio callbacks, one step after another."""

    #: The native step that is this greenlet's life.
    step = None

    switch = _evio.method(_evio.switch_carrier)

    @property
    def gr_context(self):
        """The context of this greenlet; in a step, that of the step, whichever carrier is asked.

        greenback asks the one that it knows, which another step of the task ran on.
        """
        return _context.__get__(self if _evio.current_step() is None else getcurrent())

    @gr_context.setter
    def gr_context(self, context):
        _context.__set__(self, context)

    @property
    def dead(self):
        """As of a green thread: whether the task is done, or the callback over, that ran here when somebody kept this."""
        lives = self.step and self.step.lives
        return _dead.__get__(self) if lives is None else not lives

    def __bool__(self):
        """As of a green thread: whether it has begun and not ended."""
        lives = self.step and self.step.lives
        return super().__bool__() if lives is None else lives

    @property
    def throw(self):
        """Bound to the task that runs now, or to this run of a callback of no task: strikes these wherever they wait by then.

        Green code keeps `getcurrent().throw`, as eventlet.Timeout does, and may call it when the
        step is over and the carrier busy with somebody else's.
        """
        return throw_of(self, super().throw)

    def task(self):
        """The task whose step runs here, or waits; `None` when there is none."""
        step = self.step
        if step is None:
            return None
        if step.lives is not None:
            return step.stood_for or _Gone
        return current_task() if _evio.current_step() is step else step.task


class TaskParent(greenlet):
    """The parent of a greenlet that a task keeps over several steps, instead of its first carrier.

    What comes back to it, at the end of that greenlet or before, goes on to the carrier that runs
    the task.
    """

    #: It outlives each.
    step = None

    def __init__(self, carrier, context, loop):
        # Not the carrier, which nobody is to keep for this.
        super().__init__(parent=carrier.parent)
        #: The number of the carrier.
        self.carrier = id(carrier)
        self.begun_by = None
        self.belong_to(context, loop)

    def belong_to(self, context, loop):
        """Stands from now on for the task that runs, in a context, on a loop."""
        self.context = context
        self.loop = loop
        # Weak, since greenlets that wait hide what they refer to from the garbage collector.
        task = current_task()
        self._task = None if task is None else weakref.ref(task)

    def begin(self):
        """Begins, and comes back: one that has not begun could pass no exception on."""
        self.begun_by = getcurrent()
        self.switch()

    def __bool__(self):
        """As of a carrier, which runs: SQLAlchemy asks."""
        return True

    def run(self, *brought):
        value, error = brought[0] if len(brought) == 1 else brought, None
        while True:
            try:
                value, error = _evio.pass_to_step(self, value, error), None
            except GreenletExit:
                # Nothing has it for a parent any more.
                return
            except BaseException as exception:
                value, error = None, exception

    def task(self):
        """The task; `None` when it is for a callback that belongs to none."""
        return None if self._task is None else self._task() or _Gone


class _Gone:
    """Stands for a task that nobody has any more."""

    @staticmethod
    def done():
        return True

    @staticmethod
    def cancelling():
        return 0


def throw_of(green, own=None):
    """The throw() of a greenlet as of now: of one that runs or was made in a step, that into the task or callback."""
    own = own or green.throw
    above = _above(green)
    if above is None:
        task = _guests_task(green)
        if task is not None:
            return functools.partial(_throw_into, task, count_cancels(task))
        # What was made in a task and has ended is struck no more.
        return own if _ancestor(green) is None else nothing
    if not _evio.is_here(green):
        return functools.partial(_throw_elsewhere, green)
    task, step = above.task(), above.step
    if task is not None:
        throw = functools.partial(_throw_into, task, count_cancels(task))
        return throw if isinstance(green, Carrier) else functools.partial(_throw_at_made, green, task, throw)
    if step is not None and step.busy:
        return functools.partial(_throw_into_callback, step, step.callback, None if above is green else own)
    return own


def switch_of(green):
    """The switch() of a greenlet that was made in a step, which does nothing when it has ended."""
    return functools.partial(_switch_to_made, green)


def _switch_to_made(green, *args):
    if green.dead:
        return None
    _evio.restore(green)
    return green.switch(*args)


def _guests_task(green):
    """The task of a loop that is not ours which runs here, where the hub is that loop's guest."""
    loop = asyncio._get_running_loop()
    if loop is None or isinstance(loop, _evio.LoopCore) or green is not getcurrent():
        return None
    return asyncio.current_task(loop) if isinstance(_evio.hub_of_thread(), _evio.HubCore) else None


def _throw_at_made(green, task, throw, *exception):
    """Throws at a greenlet that a program has made in a task, unless another has it by now: then at that."""
    if green.dead:
        return None
    return throw(*exception) if task_of(green) is task else throw_of(green)(*exception)


def _throw_here(green, *exception):
    from eventlet_asyncio import _primitives

    # In its hub or a callback of its loop, which both go on.
    _primitives.kill(green, *exception)


def _throw_elsewhere(green, *exception):
    from eventlet_asyncio import _threads

    _threads.strike_elsewhere(_throw_here, green, *exception)


def task_of(green):
    """The task that has made a greenlet, or for which it stands."""
    above = _above(green)
    return None if above is None else above.task()


def struck_for(green):
    """Whom to switch to by throw_of(): the greenlet, or the carrier of its task; `None` if that does not wait there."""
    task = task_of(green)
    if task is None or task is current_task():
        return green
    step = None if task.done() else _step_of(task)
    return None if step is None else step.carrier


def _above(green):
    """The carrier, or the parent in its place, from which a greenlet descends that has not ended."""
    step = _evio.current_step()
    # A carrier that is kept is dead with its task.
    above = None if green.dead and not isinstance(green, Carrier) else _ancestor(green)
    if above is not None and step is not None and green is getcurrent():
        # It may have been made in an earlier step of the task.
        return step.carrier
    return above


def _ancestor(green):
    while green is not None and not isinstance(green, (Carrier, TaskParent)):
        green = green.parent
    return green


def in_place_of_step():
    """Who goes on where some other green code has ended what descends from a step."""
    hubs = sys.modules.get("eventlet.hubs")
    return getcurrent().parent if hubs is None else hubs.get_hub().greenlet


def strike_later(exception):
    """Has a Timeout, a kill or a cancel that was held back strike the running green code where it blocks next; `False` for all else.

    Of other exceptions nobody knows whether they are a Timeout's, which may be over by then.
    """
    if isinstance(exception, (GreenletExit, sys.modules["eventlet.timeout"].Timeout)):
        current = getcurrent()
        timer = sys.modules["eventlet.hubs"].get_hub().schedule_call_global(0, _strike_again, current, throw_of(current), exception)
        if not isinstance(exception, GreenletExit):
            # By which it is cancelled where it ends.
            exception.timer = timer
        return True
    task = current_task()
    if isinstance(exception, asyncio.CancelledError) and hasattr(exception, "_asked") and task is not None:
        cancel_when_it_blocks(_evio.current_step(), task, exception)
        return True
    return False


def _strike_again(green, throw, exception):
    if not green.dead:
        throw(exception)


def _throw_into(task, cancels, *exception):
    if task.done():
        return None
    if current_task() is task:
        # eventlet's Event raises so, what it has got already.
        return greenlet.throw(getcurrent(), *exception)
    thrown = exception[0] if exception else None
    step = _step_of(task)
    if step is not None:
        task._aimed = thrown, cancels
        try:
            return _throw_at(step, *exception)
        finally:
            if hasattr(task, "_aimed"):
                del task._aimed
    # Suspended at an await: asyncio's own way in is a cancel, which timeout_exit() makes good.
    task._strikes_now = Strike(task, thrown, cancels)
    try:
        task.cancel()
    finally:
        del task._strikes_now
    return None


def _throw_into_callback(step, number, own, *exception):
    if step.busy and step.callback == number:
        return _throw_at(step, *exception)
    return None if own is None else own(*exception)


def _throw_at(step, *exception):
    """Throws at the greenlet that waits in a step, which a library may have made there."""
    waits = step.waits
    _evio.restore(step.carrier)
    return greenlet.throw(waits, *exception)


def _step_of(task):
    """The step in which a task blocks greenly, or which it has left by a kill(); `None` at an `await`."""
    wait = getattr(task, "_fut_waiter", None)
    if isinstance(wait, _evio.GreenWait):
        return wait.step
    loop = task.get_loop()
    if wait is not None or not isinstance(loop, _evio.LoopCore):
        return None
    return next((step for step in loop._parked_steps() if step.task is task), None)


def parking(switch):
    """The switch() of a hub that is not ours, for which a step is parked as ours does itself."""

    @functools.wraps(switch)
    def parking_switch(hub):
        step = _evio.park()
        if step is None:
            try:
                return switch(hub)
            finally:
                # Perhaps by the kill() of a callback.
                _evio.go_on()
        current = getcurrent()
        parent = current.parent
        try:
            result = switch(hub)
        finally:
            if current is not step.carrier and current.parent is not parent:
                # A greenlet that the task has made, which eventlet's hub has end in the hub.
                current.parent = parent
            _evio.unpark(step)
        due = step.take_due_cancel()
        if due is not None:
            raise due
        return result

    return parking_switch
