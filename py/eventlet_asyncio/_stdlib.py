"""The standard library as it was before anybody monkey-patched it."""

import sys


def _original(name):
    patcher = sys.modules.get("eventlet.patcher")
    return __import__(name) if patcher is None else patcher.original(name)


class Events:
    """asyncio.events, but for what a subclass says."""

    def __init__(self, events):
        self._events = events

    def __getattr__(self, name):
        return getattr(self._events, name)


get_ident = _original("_thread").get_ident
