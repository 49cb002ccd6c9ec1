"""A tree as a program in Python.

Programs run as they are printed: `source_of()` is compiled and run by the explorer, and `script_of()` is the same with
all that it needs, but eventlet_asyncio, in front of it.
"""

import contextlib
import pathlib
import textwrap
import warnings

from tests.explorer import schedule, strikes
from tests.explorer.trees import GROUNDS, MODES, Pause, nodes_of

#: How a call of each kind is written, after the names of the children.
CALLS = {
    ("green", "call"): "e.value = {0}()",
    ("green", "spawn"): "e.value = e.on(eventlet.spawn({0})).wait()",
    ("green", "await_"): "e.value = await_({0}())",
    ("green", "async_to_sync"): "e.value = async_to_sync({0})()",
    ("green", "future_to_greenlet"): "e.value = e.on(future_to_greenlet({0}())).wait()",
    ("green", "run"): "e.value = asyncio.run({0}())",
    ("async", "call"): "e.value = {0}()",
    ("async", "await green"): "e.value = await e.on(eventlet.spawn({0}))",
    ("async", "sync_to_async"): "e.value = await sync_to_async({0})()",
    ("async", "greenlet_to_future"): "e.value = await greenlet_to_future(e.on(eventlet.spawn({0})))",
    ("async", "await"): "e.value = await {0}()",
    ("async", "task"): "e.value = await e.on(asyncio.create_task({0}()))",
    ("async", "wait_for"): "e.value = await asyncio.wait_for({0}(), 60)",
    ("async", "shield"): "e.value = await asyncio.shield({0}())",
    ("async", "gather"): "e.value = await asyncio.gather({calls}, return_exceptions=True)",
}

#: How several children are begun, and one of them waited for.
FORKS = {
    "pool": ("pool.spawn({0})", "e.value = e.on(begun[{1}]).wait()"),
    "await greens": ("eventlet.spawn({0})", "e.value = await e.on(begun[{1}])"),
    "tasks": ("asyncio.create_task({0}())", "e.value = await e.on(begun[{1}])"),
}

LIMITS = {
    "timeout": "eventlet.Timeout(60)",
    "timeout with error": "eventlet.Timeout(60, Wrong())",
    "silent timeout": "eventlet.Timeout(60, False)",
    "asyncio": "asyncio.timeout(60)",
}


def source_of(root):
    """The functions of a program."""
    parents = {root.number: None}
    for node in nodes_of(root):
        for part in node.body:
            for child in getattr(part, "children", ()):
                parents[child.number] = node.number
    return "\n\n".join(_function(node, parents[node.number]) for node in nodes_of(root))


def _function(node, parent):
    lines = [line for part in node.body for line in _part(node.world, part)]
    if node.ending == "return":
        lines.append(f'me.value = "value {node.number}"')
    else:
        lines.append(f"raise me.wrong({'Base' if node.ending == 'raise base' else 'Wrong'}, 'Wrong')")
    if node.reaction != "pass":
        reacts = (
            f'me.value = "refused {node.number}"'
            if node.reaction == "swallow"
            else "raise me.wrong(Wrong, 'Other')"
        )
        lines = ["try:", *_indented(lines), "except BaseException:", f"    {reacts}"]
    if node.cleanup:
        cleanup = ["with me.cleanup():", *_indented(_pause(node.world, node.cleanup))]
        lines = ["try:", *_indented(lines), "finally:", *_indented(cleanup)]
    return "\n".join(
        [
            f"{'async ' if node.world == 'async' else ''}def node{node.number}():",
            f"    with node({node.number}, {parent}) as me:",
            *_indented(lines, 2),
            "    return me.value\n",
        ]
    )


def _indented(lines, levels=1):
    return ["    " * levels + line for line in lines]


def _pause(world, kinds):
    return [f'{"pause" if world == "green" else "await async_pause"}(me, "{kinds}")']


def _part(world, part):
    if isinstance(part, Pause):
        return _pause(world, part.kinds)
    names = [f"node{child.number}" for child in part.children]
    numbers = ", ".join(str(child.number) for child in part.children)
    caught = ", caught=True" if part.caught else ""
    limit = _limit(part.limit)
    if part.kind == "group":
        tasks = ", ".join(f"group.create_task({name}())" for name in names)
        body = [
            "async with asyncio.TaskGroup() as group:",
            f"    begun = [{tasks}]",
            "e.value = [task.result() for task in begun]",
        ]
        return [*_called(part, numbers, caught), *_indented([*limit, *_indented(body, len(limit))])]
    if part.kind not in FORKS:
        text = CALLS[world, part.kind].format(*names, calls=", ".join(f"{name}()" for name in names))
        return [*_called(part, numbers, caught), *_indented([*limit, *_indented([text], len(limit))])]
    fork, join = FORKS[part.kind]
    lines = ["pool = eventlet.GreenPool()"] if part.kind == "pool" else []
    lines.append(f'Run.now.note("fork", {[child.number for child in part.children]})')
    lines.append(f"begun = [{', '.join(fork.format(name) for name in names)}]")
    for index, child in enumerate(part.children):
        lines.extend(_called(part, child.number, caught))
        lines.extend(_indented([*limit, *_indented([join.format(None, index)], len(limit))]))
    return lines


def _called(part, numbers, caught):
    return [f'with call(me, "{part.kind}", {numbers}{caught}) as e:']


def _limit(limit):
    if not limit:
        return []
    return [f"{'async ' if limit == 'asyncio' else ''}with e.limited({LIMITS[limit]}):"]


def program_of(case, name):
    """Compiles a program of that name: a function that runs it to its root's end."""
    names = {**_NAMES, **vars(schedule)}
    exec(compile(source_of(case.root), f"<{name}>", "exec"), names)
    return eval(f"lambda: {_host(case)}", names)


def run_nothing(host):
    """Runs an empty coroutine as a program would be."""
    eval(host.format("nothing"), {**_NAMES, **vars(schedule), "nothing": schedule.nothing})


@contextlib.contextmanager
def mode_of(case, loop):
    """Sets the hub's loop up."""
    names = {**_NAMES, "loop": loop}
    with warnings.catch_warnings():
        exec(MODES[case.mode], names)
        try:
            yield
        finally:
            exec(UNDO, names)


def _host(case):
    return GROUNDS[case.ground].hosts[case.root.world][case.host].format(f"node{case.root.number}")


def strikes_of(case):
    return [(each.point, each.kind, each.node, each.way) for each in case.strikes]


_IMPORTS = """\
import asyncio
import warnings
import eventlet
from eventlet_asyncio import (
    async_to_sync, await_, future_to_greenlet, green_in_async, greenlet_to_future, run, sync_to_async, use_hub
)
"""

UNDO = """\
loop.set_debug(False)
loop.set_task_factory(None)
green_in_async("allow")
"""

_NAMES: dict = {}
exec(_IMPORTS, _NAMES)

_END = """\
hub, loop = stand_on({hub!r})
hub.set_timer_exceptions(False)
{mode}
now = Run({strikes})
now.lasting_loop = {loop}
try:
    with noted_kills(), eventlet.Timeout(5):
        print("the root ends with", outcome({host}, None))
except BaseException as exception:
    print("the root ends with", outcome(None, exception))
for _ in range(100):
    eventlet.sleep(0)
for each in now.trace:
    print(*each)
print("still running:", sorted(now.alive))
"""


def script_of(case):
    """A program that needs only eventlet_asyncio: what it does, and prints its trace."""
    parts = [_IMPORTS, _text(schedule), _text(strikes), source_of(case.root)]
    parts.append(
        _END.format(
            hub=GROUNDS[case.ground].hub,
            strikes=strikes_of(case),
            host=_host(case),
            loop="None" if case.host == "run" else "loop",
            mode=MODES[case.mode],
        )
    )
    return "\n\n".join(parts)


def _text(module):
    lines = pathlib.Path(module.__file__).read_text().splitlines()
    return textwrap.dedent("\n".join(line for line in lines if not line.startswith("from tests.")))
