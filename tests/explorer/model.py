"""How each node ends that nothing strikes: plain recursion, which knows of no schedule."""

from tests.explorer.trees import Pause


class Raised(Exception):
    """An outcome on its way up."""


def expected_ends(root):
    """The outcome of every node, by its number, if nothing strikes; None where the schedule decides."""
    ends = {}
    _end_of(root, ends)
    return ends


def _end_of(node, ends):
    try:
        for part in node.body:
            if not isinstance(part, Pause):
                _call(part, ends)
        if node.ending != "return":
            raise Raised("raised", f"Wrong {node.number}")
        end = ("value", f"value {node.number}")
    except Raised as raised:
        end = {
            "pass": raised.args,
            "swallow": ("value", f"refused {node.number}"),
            "replace": ("raised", f"Other {node.number}"),
        }[node.reaction]
    ends[node.number] = end
    return end


def _call(part, ends):
    if part.kind == "gather":
        for child in part.children:
            _end_of(child, ends)
        return
    if part.kind == "group":
        outcomes = [_end_of(child, ends) for child in part.children]
        if any(outcome[0] == "raised" for outcome in outcomes):
            for child in part.children:
                _forget(child, ends)
            _leave(part, ("raised", "ExceptionGroup"))
        return
    for index, child in enumerate(part.children):
        try:
            _leave(part, _end_of(child, ends))
        except Raised:
            for left in part.children[index + 1 :]:
                # Nobody waits for it; where its loop ends, it is cancelled.
                _end_of(left, ends)
                _forget(left, ends)
            raise


def _leave(part, outcome):
    if outcome[0] == "raised" and not part.caught:
        raise Raised(*outcome)


def _forget(node, ends):
    ends[node.number] = None
    for part in node.body:
        for child in getattr(part, "children", ()):
            _forget(child, ends)
