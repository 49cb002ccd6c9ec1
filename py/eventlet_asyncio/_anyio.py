"""anyio's worker threads, which are to be threads also where eventlet makes green ones of them."""

import importlib.util
import sys

from eventlet import patcher

MODULE = "anyio._backends._asyncio"


class WorkerThreads:
    """Gives anyio's backend for asyncio the original threads and queues, now or when it is imported."""

    places = [(MODULE, "threading/Thread/Queue"), (f"{MODULE}:WorkerThread", "__bases__")]

    def __init__(self):
        self._finder = _Finder(self._change)
        self._saved = []

    def apply(self):
        if MODULE in sys.modules:
            self._change(sys.modules[MODULE])
        else:
            sys.meta_path.insert(0, self._finder)

    def undo(self):
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        while self._saved:
            setattr(*self._saved.pop())

    def _change(self, module):
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        threading = patcher.original("threading")
        changes = {
            "threading": threading,
            "Thread": threading.Thread,
            "Queue": patcher.original("queue").Queue,
        }
        worker = getattr(module, "WorkerThread", None)
        if worker is None or not changes.keys() <= vars(module).keys():
            # Not as we know it: its threads stay as eventlet makes them.
            return
        if worker.__bases__ == (module.Thread,):
            self._set(worker, "__bases__", (threading.Thread,))
        for name, value in changes.items():
            self._set(module, name, value)

    def _set(self, owner, name, value):
        self._saved.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)


class _Finder:
    """Has a function called with the module when that has been imported; finds nothing by itself."""

    def __init__(self, imported):
        self._imported = imported
        self._looking = False

    def find_spec(self, name, path=None, target=None):
        if name != MODULE or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._imported)
        return spec


class _Loader:
    """Another loader, after which a function is called. The module does not see it."""

    def __init__(self, loader, imported):
        self._loader = loader
        self._imported = imported

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._imported(module)
