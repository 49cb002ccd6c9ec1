"""Loads the extension module, or says which wheel is missing."""

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
