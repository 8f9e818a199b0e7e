"""Reads settings from the environment and reports all problems at once, one line each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from app.environment import in_words, unknown_variables
from app.settings.cmt import CmtSettings
from app.settings.general import GeneralSettings
from app.settings.group import SettingsGroup, options_of
from app.settings.kafka import KafkaSettings
from app.settings.servicenow import ServiceNowSettings
from app.settings.sync import SyncSettings
from app.settings.web import WebSettings

# Before another worker takes a partition over, a call must have ended and its worker must have noticed the loss. So the
# session must last longer than the longest call by this much.
SESSION_MARGIN_SECONDS = 2.0


def session_problems(kafka: KafkaSettings, longest_call: str, call_seconds: float) -> list[str]:
    """Whether the group's session outlasts the longest call. ``longest_call``: what to call it in the message."""
    if kafka.session_timeout_seconds >= call_seconds + SESSION_MARGIN_SECONDS:
        return []
    return [
        f"KAFKA_SESSION_TIMEOUT_SECONDS ({kafka.session_timeout_seconds:g}) must exceed "
        f"{longest_call} ({call_seconds:g}) by at least {SESSION_MARGIN_SECONDS:g} s, "
        "otherwise a call of a worker that lost its partition could land after a call of the next owner"
    ]


class ConfigurationError(Exception):
    """The environment holds no usable configuration; ``problems`` has one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


_S = TypeVar("_S", bound=SettingsGroup)

# Replace required variables that are missing, so that the others can still be checked.
_STAND_INS: dict[str, Any] = {
    "bootstrap_servers": "localhost:9092",
    "auth_url": "https://localhost",
    "client_id": "-",
    "client_secret": "-",
    "jwt_secret": "-" * 32,
}


def variable(group: type[BaseSettings], name: str) -> str:
    """The name of a field's environment variable."""
    return f"{group.model_config.get('env_prefix') or ''}{name}".upper()


def known_variables() -> set[str]:
    """All variables that any of the settings classes reads."""
    return {variable(group, name) for group in SettingsGroup.__subclasses__() for name in group.model_fields}


def warnings() -> list[str]:
    """One line for each variable whose name resembles a known one but is unknown."""
    return unknown_variables(os.environ, known_variables())


def _problem_lines(group: type[SettingsGroup], error: ValidationError) -> list[str]:
    lines: list[str] = []
    for problem in error.errors(include_url=False, include_input=False):
        if not problem["loc"]:
            lines += str(problem["msg"]).removeprefix("Value error, ").splitlines()
            continue
        name = str(problem["loc"][0])
        field = group.model_fields.get(name)
        options = options_of(field.annotation) if field else ()
        variable_name = variable(group, name)
        lines.append(f"{variable_name}: {in_words(problem, options, value=os.environ.get(variable_name))}")
    return list(dict.fromkeys(lines))


def load(group: type[_S]) -> _S:
    """Read one settings class from the environment.

    Raises:
        ConfigurationError: something is missing or wrong; it names all problems.
    """
    problems: list[str] = []
    loaded = _collect(group, problems)
    if problems:
        raise ConfigurationError(problems)
    return loaded


class WorkerSettings:
    """Everything a worker needs, checked together at the start.

    Args:
        also: further checks that may raise ``ConfigurationError``. All of them run, whatever the others find.

    Raises:
        ConfigurationError: it names all problems of all settings and checks.
    """

    def __init__(self, also: Sequence[Callable[[WorkerSettings], object]] = ()) -> None:
        problems: list[str] = []
        self.kafka = _collect(KafkaSettings, problems)
        self.cmt = _collect(CmtSettings, problems)
        self.sync = _collect(SyncSettings, problems)
        self.servicenow = _collect(ServiceNowSettings, problems)
        self.web = _collect(WebSettings, problems)
        self.general = _collect(GeneralSettings, problems)
        problems += session_problems(self.kafka, "CMT_TIMEOUT_SECONDS", self.cmt.timeout_seconds)
        for check in also:
            try:
                check(self)
            except ConfigurationError as error:
                problems.extend(error.problems)
        if problems:
            raise ConfigurationError(list(dict.fromkeys(problems)))


def _collect(group: type[_S], problems: list[str]) -> _S:
    """The settings. Wrong values are reported and left out, so that the rest can be checked too."""
    try:
        return group()
    except ValidationError as error:
        wrong = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}
        problems.extend(_problem_lines(group, error))
    if wrong:
        values = {name: value for name, value in EnvSettingsSource(group)().items() if name not in wrong}
        stand_ins = {name: _STAND_INS[name] for name in wrong if name in _STAND_INS}
        try:
            return _without_environment(group)(**values | stand_ins)
        except ValidationError as error:
            problems.extend(_problem_lines(group, error))
    return cast(_S, group.model_construct(None, **_STAND_INS))


def _without_environment(group: type[_S]) -> type[_S]:
    class Given(group):  # type: ignore[valid-type, misc]
        @classmethod
        def settings_customise_sources(
            cls, _: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **others: object
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings,)

    return Given
