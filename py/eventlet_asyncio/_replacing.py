"""How something in other people's modules is replaced, and put back: the kinds of rows of the table in `_patches.py`."""

import functools
import importlib
import sys
import types

from eventlet_asyncio import _evio


def resolve(place):
    module, _, name = place.partition(":")
    owner = importlib.import_module(module)
    return getattr(owner, name) if name else owner


def is_own(function, module):
    """Whether a function is the one that a module has made, and nobody's wrapper of it."""
    own = isinstance(function, types.FunctionType) and function.__globals__ is vars(module)
    return own and function.__closure__ is None


def _with_native(function, native):
    """A function's code, with a native function in it that needs no name in other people's globals."""
    code = function.__code__
    constants = (native if constant == "native" else constant for constant in code.co_consts)
    return code.replace(co_consts=tuple(constants))


class Attribute:
    """Replaces a name of a module or class, wherever it stands."""

    def __init__(self, places, make):
        self.places = places
        self._make = make
        self._saved = []

    def apply(self):
        if self._saved:
            return
        replacement = self._make()
        for place, name in self.places:
            owner = resolve(place)
            if name in vars(owner):
                self._replace(owner, name, replacement)

    def _replace(self, owner, name, replacement):
        self._saved.append((owner, name, vars(owner)[name], replacement))
        setattr(owner, name, replacement)

    def undo(self):
        while self._saved:
            owner, name, value, replacement = self._saved.pop()
            # What somebody has put there since stays.
            if vars(owner)[name] is replacement:
                setattr(owner, name, value)

    def original(self, place, name):
        for owner, saved_name, value, _ in self._saved:
            if saved_name == name and owner is resolve(place):
                return value
        return vars(resolve(place))[name]


class Methods(Attribute):
    """Replaces methods of a class by native functions, unless the program has replaced one of them."""

    def __init__(self, place, natives):
        super().__init__([(place, name) for name in natives], None)
        self._natives = natives

    def apply(self):
        owner = resolve(self.places[0][0])
        module = sys.modules[owner.__module__]
        if all(is_own(vars(owner)[name], module) for name in self._natives):
            for name, native in self._natives.items():
                self._replace(owner, name, _evio.method(getattr(_evio, native)))


class Code:
    """Replaces what a function does, so that those who imported it by name are reached too.

    The code runs with the globals of the function that it is given to. Where the program has put something of its own,
    that stays.
    """

    def __init__(self, place, name, replacement, native=None):
        self.places = [(place, name)]
        self._replacement = replacement
        self._native = native
        self._saved = None

    def apply(self):
        module = resolve(self.places[0][0])
        function = vars(module)[self.places[0][1]]
        if is_own(function, module):
            self._saved = (function, function.__code__)
            function.__code__ = _with_native(self._replacement, self._constant(function))

    def _constant(self, _function):
        return self._native and getattr(_evio, self._native)

    def undo(self):
        if self._saved is not None:
            function, function.__code__ = self._saved
            self._saved = None


class CodeAround(Code):
    """Has a function called in the place of another, which it gets as its first argument."""

    def _constant(self, function):
        own = types.FunctionType(function.__code__, function.__globals__, function.__name__)
        return functools.partial(self._native, own)


class CodeThatMayRun(Code):
    """Reaches the call that is running, too, which may have made the hub: it is caught by what it does next."""

    def __init__(self, place, name, replacement, catch):
        super().__init__(place, name, replacement)
        self._catch = catch

    def apply(self):
        super().apply()
        if self._saved is None:
            return
        code = self._saved[1]
        frame = sys._getframe()
        while frame is not None and frame.f_code is not code:
            frame = frame.f_back
        if frame is not None:
            self._catch(code)


class Function:
    """Replaces a function by a native equal, also in the hands of those who took it by name before."""

    def __init__(self, places, early, native=None):
        self.places = places
        self._early = early
        self._native = native or places[0][1]
        self._saved = []
        self._original = None

    def apply(self):
        place, name = self.places[0]
        module = resolve(place)
        function = vars(module)[name]
        if not is_own(function, module):
            # Somebody has put something of their own there.
            return
        self._original = types.FunctionType(
            function.__code__, function.__globals__, name, function.__defaults__
        )
        native = getattr(_evio, self._native)
        for place, _ in self.places:
            module = sys.modules.get(place)
            if module is not None and vars(module).get(name) is function:
                self._saved.append((module, name, function))
                setattr(module, name, native)
        function.__code__ = _with_native(self._early, native)

    def undo(self):
        for module, name, function in self._saved:
            function.__code__ = self._original.__code__
            if vars(module)[name] is getattr(_evio, self._native):
                setattr(module, name, function)
        self._saved.clear()

    def original(self, place, name):
        """Eventlet's function, which the native one calls in threads with other hubs."""
        return self._original or vars(resolve(place))[name]
