"""Makes a case that fails smaller, as long as it fails in the same way."""

import re
from dataclasses import replace

from eventlet import hubs

from tests.explorer import explore
from tests.explorer.trees import GROUNDS, Call, Pause, nodes_of


def shrink(case, failure, tries=3000):
    """The smallest case that is found, and how it fails."""
    kind = _kind(failure)
    while True:
        for smaller in _smaller(case):
            tries -= 1
            if tries < 0:
                return case, failure
            found = fails(smaller)
            if found is not None and _kind(found) == kind:
                case, failure = smaller, found
                break
        else:
            return case, failure


def fails(case):
    """How a case fails, if it does."""
    try:
        explore.explore(case)
    except explore.Failure as failure:
        # What it left behind is nobody's.
        vars(hubs._threadlocal).clear()
        return failure
    return None


def _kind(failure):
    text = re.sub(r"line \d+ of the trace", "", failure.text)
    return re.sub(r"\d+", "", text)[:50]


def _smaller(case):
    if case.mode:
        yield replace(case, mode="")
    for index in range(len(case.strikes)):
        yield replace(case, strikes=case.strikes[:index] + case.strikes[index + 1 :])
    hosts = GROUNDS[case.ground].hosts
    for child in list(nodes_of(case.root))[1:]:
        if child.world in hosts:
            yield replace(case, root=child, host=next(iter(hosts[child.world])))
    for host in hosts[case.root.world]:
        if host == case.host:
            break
        yield replace(case, host=host)
    for root in _smaller_nodes(case.root):
        yield replace(case, root=root)
        for index, strike in enumerate(case.strikes):
            for less in range(1, min(strike.point, 6)):
                moved = replace(strike, point=strike.point - less)
                yield replace(case, root=root, strikes=(*case.strikes[:index], moved, *case.strikes[index + 1 :]))
    for index, strike in enumerate(case.strikes):
        if strike.way != "timer":
            moved = replace(strike, way="timer")
            yield replace(case, strikes=(*case.strikes[:index], moved, *case.strikes[index + 1 :]))


def _smaller_nodes(node):
    for index, part in enumerate(node.body):
        yield replace(node, body=node.body[:index] + node.body[index + 1 :])
        if isinstance(part, Call):
            yield replace(node, body=(*node.body[:index], Pause("s"), *node.body[index + 1 :]))
        for smaller in _smaller_parts(part):
            yield replace(node, body=(*node.body[:index], smaller, *node.body[index + 1 :]))
    if node.cleanup:
        yield replace(node, cleanup="")
        if len(node.cleanup) > 1:
            yield replace(node, cleanup=node.cleanup[1:])
    if node.reaction != "pass":
        yield replace(node, reaction="pass")
    if node.ending != "return":
        yield replace(node, ending="return")


def _smaller_parts(part):
    if isinstance(part, Pause):
        for index in range(len(part.kinds)):
            if len(part.kinds) > 1:
                yield Pause(part.kinds[:index] + part.kinds[index + 1 :])
            if part.kinds[index] != "s":
                yield Pause(part.kinds[:index] + "s" + part.kinds[index + 1 :])
        return
    if part.limit:
        yield replace(part, limit="")
    if part.caught:
        yield replace(part, caught=False)
    for index, child in enumerate(part.children):
        if len(part.children) > 1:
            yield replace(part, children=part.children[:index] + part.children[index + 1 :])
        for smaller in _smaller_nodes(child):
            yield replace(part, children=(*part.children[:index], smaller, *part.children[index + 1 :]))
