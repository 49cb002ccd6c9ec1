"""What each node must see, given what happened to it: judges the trace of a run.

The judge follows a run from outside. It knows of each task and green thread which nodes stand in it, and what the last
of them waits for, so it knows whom a strike must reach. Of every wait it then says by what it may have ended.
"""

import sys

from tests.explorer.reach import CANCEL, DRIVING, EXIT, FOR_GREEN, LEAVING, SHARING, Fault, Life, Standing, Wait
from tests.explorer.trees import GROUNDS, Ground

OURS = Ground().hub


class Judge(Standing):
    """Follows a trace."""

    def follow(self, trace):
        for number, (what, *rest) in enumerate(trace):
            if self.abandons:
                return
            try:
                getattr(self, "on_" + what.replace(" ", "_"))(*rest)
            except Fault as fault:
                raise Fault(f"line {number} of the trace, {what} {rest}: {fault}") from None
        if self.abandons:
            return
        left = {number for number in self.lives if number not in self.ends}
        if self.left_early(left) or (self.host == "run" and self.waits_for_closed_loop(left)):
            self.abandons = True
            return
        for number in sorted(self.begun - set(self.ends) - set(self.unborn)):
            if number in self.lives or not self.is_ending(number):
                raise Fault(f"node {number} has {'begun but not ended' if number in self.lives else 'not begun'}")

    def waits_for_closed_loop(self, left):
        """Whether green code that nobody waits for does, as a thread may that waits for asyncio."""
        waits = [self.lives[number].wait for number in left]
        return any(wait is not None and wait.kind in (*DRIVING, "future_to_greenlet") for wait in waits)

    def left_early(self, left):
        """Whether one of these is below an asyncio.run() that a task group may have struck twice."""
        for number in left:
            while number is not None:
                if number in self.struck_runs:
                    return True
                number = self.parents.get(number)
        return False

    # What happens.

    def on_fault(self, text):
        raise Fault(text)

    def on_start(self, number, unit, loop):
        if number in self.unborn:
            raise Fault(f"it was struck by {self.unborn[number]} before")
        self.lives[number] = Life(self.nodes[number], unit, loop)
        self.stacks.setdefault(unit, []).append(number)

    def on_end(self, number, outcome):
        life = self.lives[number]
        if number in self.ends or self.stacks[life.unit].pop() != number:
            raise Fault("it had ended, or others stand above it")
        self.ends[number] = outcome
        wait = self.wait_for(number)
        if wait is None or wait.kind == "run":
            if life.loop is not None and (wait is not None or number not in self.parents):
                self.ending.add(life.loop)
        elif wait.kind == "group" and outcome[0] == "raised" and outcome[1] != CANCEL:
            self.ending.update(wait.children)

    def wait_for(self, number):
        parent = self.parents.get(number)
        wait = None if parent is None else self.lives[parent].wait
        return wait if wait is not None and number in wait.children else None

    def on_pause(self, number, kind):
        self.lives[number].kind = kind

    def on_resumed(self, number, name):
        life = self.lives[number]
        due, life.due, life.kind = life.due, set(), ""
        self.killers.discard(life.unit)
        for asked in set(self.stacks[life.unit]) & set(self.asked):
            self.asked[asked] += 1
            if self.asked[asked] > 5:
                raise Fault(f"nobody has killed node {asked}")
        if name in due or (name is None and not due):
            return
        if self.is_ending(number):
            # The loop may also be closed.
            return
        raise Fault(f"it may see {due or 'nothing'}")

    def on_fork(self, children):
        self.begun.update(children)

    def on_call(self, number, kind, children):
        self.begun.update(children)
        self.lives[number].wait = Wait(kind, children)

    def on_clean(self, number):
        pass

    on_cleaned = on_clean

    def on_handle(self, number, unit):
        self.handles[unit] = self.lives[number].wait

    def on_saw(self, number, children, outcome, context):
        life = self.lives[number]
        wait, life.wait = life.wait, None
        if not wait.due and not self.is_ending(number):
            for child in children:
                if child not in self.ends and child not in self.unborn and child not in self.ending:
                    raise Fault(f"node {child} has not ended")
        shares = wait.kind in SHARING and children[0] in self.lives
        if context != (children[0] if shares else number):
            raise Fault(f"the context is that of node {context}")
        if wait.kind == "group" and (wait.cancelled or self.mode == "eager tasks"):
            # From Python 3.13 on it cancels its task again, for the next await. With eager tasks it may do
            # so before, too, by cancelling a task that runs.
            self.noted.add(life.unit)
        if wait.late and wait.due:
            # What green code gets as an exception comes first, and the cancel at the next await.
            self.noted.add(life.unit)
        if wait.pending and self.is_ending(number):
            self.struck_runs.update(children)
        allowed = self.outcomes(life, wait)
        if wait.kind == "future_to_greenlet" and ("raised", CANCEL) in allowed and GROUNDS[self.ground].hub != OURS:
            # Such a hub goes by the clock, so the cancel may come before the green thread has begun to wait.
            allowed.add(("raised", EXIT))
        self.silence(wait, allowed)
        if wait.converts and ("raised", CANCEL) in allowed:
            allowed.add(("raised", wait.converts))
            if life.unit not in self.cancelled and sys.version_info >= (3, 11):
                allowed.discard(("raised", CANCEL))
            self.silence(wait, allowed)
        if outcome not in allowed and not any(map(self.is_ending, (number, *children))):
            raise Fault(f"it may see {sorted(allowed, key=str)}")

    # What a call may end with.

    def silence(self, wait, allowed):
        """A silent Timeout ends itself: as if nothing had been called."""
        mine = ("raised", f"Timeout {self.parents[wait.children[0]]}-{wait.children[0]}")
        if mine in allowed and self.limits[wait.children[0]] == "silent timeout":
            allowed.discard(mine)
            allowed.add(("value", None))

    def outcome_of(self, wait, child):
        outcome = self.ends.get(child) or ("raised", self.unborn.get(child, "nothing: it never ran"))
        if outcome == ("raised", EXIT) and wait.kind in FOR_GREEN:
            return ("raised", CANCEL)
        return outcome

    def outcomes(self, life, wait):
        outcomes = [self.outcome_of(wait, child) for child in wait.children]
        if wait.due:
            late = set(outcomes) if wait.late else set()
            return {("raised", name) for name in wait.due} | {each for each in late if each[0] == "raised"}
        # A green thread that is to be killed may end by itself before.
        missed = wait.cancelled and wait.kind in FOR_GREEN
        late = {("raised", CANCEL)} if wait.late or missed else set()
        if wait.kind == "group":
            return self.outcomes_of_group(wait, outcomes)
        if wait.kind == "gather":
            if wait.cancelled and not wait.late:
                return {("raised", CANCEL)}
            return {("values", *outcomes)} | late
        (outcome,) = outcomes
        if not wait.pending:
            return {outcome} | late
        name = wait.pending[-1][1]
        if wait.kind == "run" or any(style == "timeout" for style, _ in wait.pending):
            return {("raised", name)}
        if outcome not in (("raised", CANCEL), ("raised", EXIT)):
            return {outcome, ("raised", name)} if wait.late else {outcome}
        # Whether the second came in time is for the green thread to know.
        names = [name for _, name in wait.pending] if wait.kind == "future_to_greenlet" else [name]
        return {("raised", each) for each in names}

    def outcomes_of_group(self, wait, outcomes):
        allowed = set()
        if wait.cancelled or ("raised", CANCEL) in outcomes:
            allowed.add(("raised", CANCEL))
        if any(outcome[0] == "raised" and outcome[1] != CANCEL for outcome in outcomes):
            return allowed | {("raised", "ExceptionGroup")}
        if not allowed or wait.late:
            allowed.add(("values", *outcomes))
        return allowed

    # Whom a strike reaches.

    def on_cancel(self, number, striker):
        self.striker = striker
        self.hit(self.lives[number].unit, CANCEL, "cancel")

    def on_cancel_below(self, number, striker):
        self.striker = striker
        self.hit_child(*self.lives[number].wait.children)

    def on_kill(self, unit, name, striker):
        self.striker = striker
        self.killers.add(striker)
        wait = self.handles.get(unit)
        if wait is not None and wait.kind == "future_to_greenlet":
            wait.pending.append(("kill", name))
            self.hit_children(wait)
            return
        if unit in self.stacks:
            for number in self.stacks[unit]:
                self.asked.pop(number, None)
            self.hit(unit, name, "kill")
            return
        # It has not begun.
        asked = [number for number in self.asked if number not in self.lives]
        for number in asked if wait is None else wait.children:
            self.asked.pop(number, None)
            self.unborn[number] = name

    def on_strike_again(self, unit, name, is_timeout):
        self.striker = None
        self.hit(unit, name, "timeout" if is_timeout else "kill")

    def on_asyncio_limit(self, number, striker):
        self.striker = striker
        self.lives[number].wait.converts = "TimeoutError"
        self.hit(self.lives[number].unit, CANCEL, "limit")

    def on_limit(self, number, name, is_timeout):
        life = self.lives[number]
        stack = self.stacks[life.unit]
        top = self.lives[stack[-1]]
        driven = self.driven(life.unit)
        blocks = self.blocks_greenly(top) if top.wait is None else top.wait.kind in (*LEAVING, "run")
        if life.loop is None or blocks or (driven is not None and stack.index(number) <= driven):
            self.hit(life.unit, name, "timeout" if is_timeout else "kill")
        else:
            life.wait.converts = name
            self.hit(life.unit, CANCEL, "limit")
