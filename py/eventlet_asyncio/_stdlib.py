"""The standard library as it was before anybody monkey-patched it."""

from eventlet import patcher

get_ident = patcher.original("_thread").get_ident
socket = patcher.original("socket")
threading = patcher.original("threading")
