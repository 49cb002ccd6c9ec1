"""The standard library as it was before anybody monkey-patched it."""

import sys


def _original(name):
    patcher = sys.modules.get("eventlet.patcher")
    return __import__(name) if patcher is None else patcher.original(name)


get_ident = _original("_thread").get_ident
