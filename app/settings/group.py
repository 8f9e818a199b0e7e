"""The base class of all settings."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsGroup(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _any_case(cls, values: Any) -> Any:
        """Accept the values of a Literal in upper and lower case."""
        if not isinstance(values, dict):
            return values
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if field is not None and isinstance(value, str):
                spellings = {option.casefold(): option for option in options_of(field.annotation)}
                values[name] = spellings.get(value.strip().casefold(), value)
        return values


def options_of(annotation: Any) -> tuple[str, ...]:
    """The values of a Literal, also of an optional one."""
    if get_origin(annotation) is Literal:
        return tuple(str(option) for option in get_args(annotation))
    return tuple(option for part in get_args(annotation) for option in options_of(part))
