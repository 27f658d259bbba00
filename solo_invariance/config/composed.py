"""Composing a command's configuration, and what was composed as plain Python."""

from collections.abc import Iterable
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from solo_invariance.config.kinds import schema_of
from solo_invariance.config.older import in_todays_words
from solo_invariance.config.overrides import escape_interpolations, hydra_arguments, written_out
from solo_invariance.errors import UserError

Schema = TypeVar("Schema")


def compose_command(command: str, overrides: Iterable[str] = ()) -> DictConfig:
    """Compose a command's configuration as the command line does.

    Args:
        command: ``measure``, ``pretrain``, ...
        overrides: As they are typed, ``key=value``.

    Raises:
        HydraException: A key or value is wrong.
        UserError: An override is no ``key=value``, or its value is not of the shape of its key.

    Example:
        >>> compose_command("measure", ["k=16"]).k
        16
    """
    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra

    command, overrides = written_out(command, [*overrides])
    ConfigStore.instance().store(name=f"schema_{command}", node=schema_of(command))
    running = GlobalHydra.instance().hydra  # a command may be at work
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(config_module=__package__, version_base="1.3"):
            return compose(command, overrides=hydra_arguments(in_todays_words(overrides), schema_of(command)))
    finally:
        GlobalHydra.instance().hydra = running


def as_object(config: Any, schema: type[Schema]) -> Schema:
    """Return a composed configuration as its dataclass, checked.

    Raises:
        UserError: It was composed of another schema, or of none.
    """
    result = OmegaConf.to_object(config)
    if not isinstance(result, schema):
        command = schema.__name__.removesuffix("Config").lower()
        raise UserError(f"--config-name: such a file begins with `defaults: [{command}, _self_]`, for the other keys")
    return result


def as_dict(config: Any) -> dict[str, Any]:
    """Return a composed configuration as plain data, resolved, enums by name."""
    from omegaconf import SCMode

    content = OmegaConf.to_container(config, resolve=True, enum_to_str=True, structured_config_mode=SCMode.DICT)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def literal(value: Any) -> Any:
    """Return plain data for OmegaConf to take as it is: ``${`` in a text that was resolved is no interpolation."""
    if isinstance(value, dict):
        return {key: literal(one) for key, one in value.items()}
    if isinstance(value, list):
        return [literal(one) for one in value]
    return escape_interpolations(value) if isinstance(value, str) else value


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain data, resolved."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
