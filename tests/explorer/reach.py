"""Whom a strike reaches: which nodes stand in each task and green thread, and what the last of them waits for."""

from dataclasses import dataclass, field

from tests.explorer.trees import nodes_of

CANCEL = "CancelledError"
EXIT = "GreenletExit"

#: Waits of green code that a throw ends at once, while what was waited for goes on.
LEAVING = ("spawn", "pool", "future_to_greenlet")
#: The same of async code, which a cancel ends.
SHIELDING = ("shield",)
#: Calls that drive a coroutine in the task that they are made in, or else wait for a task.
DRIVING = ("await_", "async_to_sync")
#: Calls in which async code waits for a green thread.
FOR_GREEN = ("await green", "await greens", "sync_to_async", "greenlet_to_future")
#: Strikes at a task from asyncio's side; the second is of a time limit, which takes its cancel back.
CANCELLING = ("cancel", "limit")
#: Calls whose callee has its caller's context.
SHARING = ("call", "await", "wait_for", "sync_to_async", *DRIVING)


@dataclass
class Wait:
    """A call that is not over."""

    kind: str
    children: tuple
    #: What was thrown at it, and was to be raised when what it waits for has ended: style, name.
    pending: list = field(default_factory=list)
    #: What was thrown at it, to be raised at once.
    due: set = field(default_factory=set)
    #: What its own time limit makes of a CancelledError.
    converts: str = ""
    cancelled: bool = False
    #: It was struck when what it waits for had ended.
    late: bool = False


@dataclass
class Life:
    """A node that has begun."""

    node: object
    unit: int
    loop: object
    kind: str = ""
    due: set = field(default_factory=set)
    wait: Wait = None


class Fault(Exception):
    """A node did not see what it had to."""


class Standing:
    """Who stands where in a program that runs."""

    def __init__(self, case):
        self.host, self.mode, self.ground = case.host, case.mode, case.ground
        self.nodes = {node.number: node for node in nodes_of(case.root)}
        self.parents = {
            child.number: node.number
            for node in self.nodes.values()
            for part in node.body
            for child in getattr(part, "children", ())
        }
        self.limits = {
            child.number: part.limit
            for node in self.nodes.values()
            for part in node.body
            for child in getattr(part, "children", ())
        }
        self.lives = {}
        self.ends = {}
        #: Of each task or green thread, the nodes that stand in it.
        self.stacks = {}
        #: What children were struck by that had not begun.
        self.unborn = {}
        self.begun = {case.root.number}
        self.cancelled = set()
        #: Loops that end, and nodes whose task group does: what still runs there is cancelled at some time.
        self.ending = set()
        #: Tasks that were cancelled while they ran: asyncio makes a note, for their next await.
        self.noted = set()
        #: The call that waits for a green thread.
        self.handles = {}
        #: Green nodes that are to be killed, and how many turns they have had since.
        self.asked = {}
        #: What asyncio.run() ran, in tasks that others may have cancelled as well.
        self.struck_runs = set()
        #: Whether asyncio.run() was kept from ending what it has begun.
        self.abandons = False
        #: Who may still be inside kill(), which is no green block.
        self.killers = set()
        #: Who strikes.
        self.striker = None

    def is_ending(self, number):
        """Whether a node belongs to something that cancels all of its own."""
        while number is not None:
            life = self.lives.get(number)
            if number in self.ending or life is not None and (life.loop in self.ending or life.unit in self.noted):
                return True
            number = self.parents.get(number)
        return False

    def blocks_greenly(self, life):
        return life.node.world == "green" or life.kind == "g"

    def is_in_first_step(self, life):
        """Whether a task is in the middle of its step, in which an eager task takes its first."""
        if self.mode != "eager tasks" or life.loop is None or life.kind:
            return False
        return life.wait is None or life.wait.kind not in (*LEAVING, *DRIVING, *FOR_GREEN, "run")

    def driven(self, unit):
        """The last place in a stack at which a coroutine is driven by await_()."""
        stack = self.stacks[unit]
        for index in range(len(stack) - 2, -1, -1):
            wait = self.lives[stack[index]].wait
            if wait.kind in DRIVING:
                return index
        return None

    def hit(self, unit, name, style):
        stack = self.stacks.get(unit)
        if not stack:
            return
        life = self.lives[stack[-1]]
        wait = life.wait
        if style == "cancel":
            self.cancelled.add(unit)
        in_kill = unit in self.killers and life.loop is not None and style in CANCELLING
        if unit == self.striker or in_kill or self.is_in_first_step(life):
            self.noted.add(unit)
        elif wait is None and (style in CANCELLING or self.blocks_greenly(life)):
            life.due.add(name)
        elif wait is not None and wait.kind in LEAVING:
            wait.due.add(name)
            wait.late = style in CANCELLING and all(child in self.ends for child in wait.children)
        elif wait is not None and wait.kind in DRIVING and life.loop is None and self.comes_after(wait):
            # A kill or a Timeout comes again, and then the trace says so.
            if style != "timeout" and name != EXIT:
                wait.due.add(name)
        elif wait is not None and wait.kind in (*DRIVING, "run"):
            if wait.kind == "run":
                self.hit_run(wait)
            wait.pending.append((style, name))
            if wait.kind != "run" or (style not in CANCELLING and wait.children[0] in self.lives):
                self.hit_children(wait)
        else:
            if style not in CANCELLING:
                # Parked, so it is driven.
                driven = self.lives[stack[self.driven(unit)]].wait
                driven.pending.append((style, name))
            if wait is None:
                life.due.add(CANCEL)
            elif wait.kind in SHIELDING:
                wait.due.add(CANCEL)
            else:
                wait.cancelled = True
                self.hit_children(wait)

    def comes_after(self, wait):
        """Whether what a green thread waits for was there already."""
        return not {None, ("raised", CANCEL)} & {self.ends.get(child) for child in wait.children}

    def hit_run(self, wait):
        """asyncio.run() cancels its tasks when it is left, which a cancel has it do in the next turn."""
        (child,) = wait.children
        if child in self.lives:
            self.ending.add(self.lives[child].loop)
        else:
            self.ending.add(child)
        if wait.pending or all(child in self.ends for child in wait.children):
            # The second exception leaves its cleanup, and what was to be cleaned up.
            self.abandons = True

    def hit_children(self, wait):
        wait.late = all(child in self.ends for child in wait.children)
        if wait.kind == "group":
            # The task that waits for it cancels them, in a turn of its own.
            self.ending.update(wait.children)
            return
        for child in wait.children:
            self.hit_child(child)

    def hit_child(self, child):
        if child in self.ends:
            return
        if self.nodes[child].world == "green" and child in self.lives:
            # Killed in the next turn.
            self.asked[child] = 0
        elif self.nodes[child].world == "green":
            self.unborn[child] = EXIT
        elif child in self.lives:
            self.hit(self.lives[child].unit, CANCEL, "cancel")
        else:
            self.unborn[child] = CANCEL
