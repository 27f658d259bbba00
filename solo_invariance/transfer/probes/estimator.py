"""What makes a probe one of scikit-learn's estimators, without importing scikit-learn."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, Literal, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

Method = TypeVar("Method", bound=Callable[..., Any])


class Estimator:
    """Settings by name, so that scikit-learn's ``clone``, ``cross_val_score`` and the like take a probe.

    A subclass keeps each argument of its ``__init__`` under its name, as it is.
    """

    _estimator_type: ClassVar[Literal["classifier", "regressor"]]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name; ``deep`` changes nothing, since none of them has settings itself."""
        return {name: getattr(self, name) for name in _settings_of(type(self))}

    def set_params(self, **settings: Any) -> "Estimator":
        """Change some of the settings and return the probe.

        Raises:
            ValueError: There is no such setting.
        """
        known = _settings_of(type(self))
        for name, value in settings.items():
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no setting {name!r}; it has {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        usual = _settings_of(type(self))
        changed = {name: value for name, value in self.get_params().items() if value is not usual[name]}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, RegressorTags, Tags, TargetTags

        classifies = self._estimator_type == "classifier"
        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if classifies else None,
            regressor_tags=None if classifies else RegressorTags(),
        )


def takes_arrays(method: Method) -> Method:
    """Let a method of tensors take NumPy's arrays, too; it then returns one where it returns a tensor."""

    @wraps(method)
    def wrapped(self: Any, *arguments: Any) -> Any:
        result = method(self, *map(_as_tensor, arguments))
        given = any(isinstance(one, np.ndarray) for one in arguments)
        return result.cpu().numpy() if given and isinstance(result, Tensor) else result

    return cast(Method, wrapped)


def _as_tensor(values: Any) -> Any:
    return torch.as_tensor(values) if isinstance(values, np.ndarray) else values


def _settings_of(kind: type) -> dict[str, Any]:
    """The arguments of a class by name, with their defaults."""
    return {name: one.default for name, one in inspect.signature(kind).parameters.items()}
