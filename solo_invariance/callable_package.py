"""Packages that are verbs: ``solo_invariance.measure`` holds what measuring takes, and ``measure(...)`` does it.

A package and a function of one name cannot both be an attribute of ``solo_invariance``: whichever was imported last
would win. So the package itself is called, whoever imported what before.
"""

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class _Verb(ModuleType):
    """A package that passes calls on to one of its functions, which is imported when it is called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)

    @property
    def _function(self) -> Callable[..., Any]:
        module, name = self.__dict__["__verb__"].split(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


def make_callable(package: str, function: str) -> None:
    """Let calls of a package be calls of a function.

    Args:
        package: Its ``__name__``.
        function: ``MODULE:NAME``.
    """
    module = sys.modules[package]
    module.__dict__["__verb__"] = function
    module.__class__ = _Verb
