"""From a composed configuration to plain Python."""

from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

Schema = TypeVar("Schema")


def as_object(config: Any, schema: type[Schema]) -> Schema:
    """Return a composed configuration as its dataclass, checked."""
    result = OmegaConf.to_object(config)
    assert isinstance(result, schema)
    return result


def as_dict(config: Any) -> dict[str, Any]:
    """Return a composed configuration as plain data, resolved, enums by name."""
    from omegaconf import SCMode

    content = OmegaConf.to_container(config, resolve=True, enum_to_str=True, structured_config_mode=SCMode.DICT)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain data, resolved."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
