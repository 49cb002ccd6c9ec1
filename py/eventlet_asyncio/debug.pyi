"""What every green thread and task of the process is doing."""

def format_stacks() -> str:
    """Say of every green thread and task where it stands and what it waits for.

    A section each: who it is, whether it runs, blocks greenly, awaits or has not started, on what, and
    its stack, innermost call last. At the end how much each hub watches. All threads are looked at; of
    what runs in other threads at this moment there is no stack. Green threads are found by the
    garbage collector, which shows none that `gc.freeze()` has put away. Works without a hub, too.
    """
