"""What is to happen when a module is imported: an entry of `sys.meta_path`, until then."""

import importlib.util
import sys


class WhenImported:
    """Has a function called with a module when that has been imported; finds nothing by itself."""

    def __init__(self, module, imported):
        self._module = module
        self._imported = imported
        self._looking = False

    def wait(self):
        """Wait for the import."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def forget(self):
        """Wait no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name, path=None, target=None):
        if name != self._module or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._looking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._has_come)
        return spec

    def _has_come(self, module):
        self.forget()
        self._imported(module)


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
