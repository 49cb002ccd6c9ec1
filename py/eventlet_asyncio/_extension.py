"""Says which wheel is missing, or that the interpreter is not the one that the extension module is for."""

import importlib
import importlib.util
import sys
import sysconfig

if importlib.util.find_spec("eventlet_asyncio._evio") is None:
    raise ImportError(
        "eventlet_asyncio has no extension module for {} {}.{} ({}): install the wheel "
        "eventlet-asyncio built for cp{}{} on this platform, or build it with "
        "'cargo xtask wheel --python {}.{}'".format(
            sys.implementation.name,
            *sys.version_info[:2],
            sysconfig.get_platform(),
            *sys.version_info[:2],
            *sys.version_info[:2],
        ),
        name="eventlet_asyncio._evio",
    )


def _refuse_sub_interpreters():
    try:
        interpreters = importlib.import_module("_xxsubinterpreters")
    except ImportError:
        return
    if interpreters.get_current() != interpreters.get_main():
        raise ImportError(
            "eventlet_asyncio does not support sub-interpreters",
            name="eventlet_asyncio._evio",
        )


if sys.version_info < (3, 12):
    # Later ones ask the module itself whether it supports them, before they run it.
    _refuse_sub_interpreters()
