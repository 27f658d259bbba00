"""Networks of one's own code, ``python:MODULE:CALLABLE``."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from solo_invariance.backbones.sources.code import CodeSource
from solo_invariance.config.backbone_names import module_and_attribute
from solo_invariance.errors import UserError, did_you_mean, reason_of


class Python(CodeSource):
    """What a function (or a class) of a module returns; the module is looked for in the current directory, too."""

    def called(self, name: str) -> str:
        """Return the name as it was given."""
        return f"python:{name}"

    def asks_for(self, name: str, kwargs: Mapping[str, Any]) -> str | None:
        """Return that the module is imported, and the function called."""
        module, _, function = name.rpartition(":")
        return f"run {function} of the Python module {module}"

    def function(self, name: str) -> Callable[..., Any]:
        """Import the module and return what it has by the name.

        Raises:
            UserError: There is no such module, importing it fails, or it has nothing of that name that can be called.
        """
        module_name, attribute = module_and_attribute(name)
        found: Any = _imported(module_name, f"python:{name}")
        for part in attribute.split("."):
            if not hasattr(found, part):
                hint = did_you_mean(part, [one for one in vars(found) if not one.startswith("_")])
                raise UserError(f"backbone.name=python:{name}: {module_name} has no {attribute!r}{hint}")
            found = getattr(found, part)
        if not callable(found):
            raise UserError(f"backbone.name=python:{name}: is a {type(found).__name__}, which cannot be called")
        called: Callable[..., Any] = found
        return called


def _imported(module: str, called: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            hint = "; a file is named without .py and with dots for folders" if "/" in module or ".py" in module else ""
            raise UserError(
                f"backbone.name={called}: there is no module {module!r}, neither here nor among what is installed{hint}"
            ) from error
        raise UserError(f"backbone.name={called}: {module} cannot be imported ({reason_of(error)})") from error
    except Exception as error:  # the user's own module can raise anything
        raise UserError(
            f"backbone.name={called}: {module} cannot be imported ({type(error).__name__}: {reason_of(error)})"
        ) from error
