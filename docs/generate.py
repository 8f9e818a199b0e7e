"""Writes the pages that are made from the program: ``python docs/generate.py [--check]``; ``make docs`` calls it.

``errors.md`` comes from the registry of errors, ``configuration.md`` from the settings, ``commands.md`` from the
command line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import annotated_types
import typer.main
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from app import settings
from app.cli import cli
from app.cli.errors import markdown_page
from app.delivery.errors import REGISTRY
from app.settings.pipelines import PIPELINES

HERE = Path(__file__).parent
# What a worker reads. Other settings classes are parts of these, for commands that need less.
GROUPS: dict[str, type[settings.SettingsGroup]] = {
    "Kafka": settings.KafkaSettings,
    "Marketing Cloud": settings.CmtSettings,
    "Synchronisation": settings.SyncSettings,
    "ServiceNow": settings.ServiceNowSettings,
    "Page and API": settings.WebSettings,
    "Other": settings.GeneralSettings,
}
UNITS = ("seconds", "minutes", "days", "bytes")

CONFIGURATION = """\
# Configuration

Everything comes from environment variables. A missing or wrong value stops the start, with one line for each. A
variable with a similar but unknown name causes a warning that names the nearest known one; the variables that
Kubernetes sets for a service called `kafka` or `web` do not. Words may be in upper or lower case, and an empty value
counts as none.

Commands ask only for what they use: `status`, `kpi`, `consumer`, `dlq` and `topics` need `KAFKA_*`, `verify` needs
`KAFKA_*` and `CMT_*`, `token` needs `WEB_JWT_SECRET`. `check` looks at everything that a worker needs.

Plain `http://` is refused for Marketing Cloud and ServiceNow except on loopback; `HTTPS_PROXY` and `NO_PROXY` are
honoured.

This page is made from `app/settings/` by `make docs`.
"""

COMMANDS = """\
# Commands

Run a command with `profile-sync COMMAND` or `python -m app COMMAND`. It exits with 0 on success, 1 on failure and 2 on
wrong usage or configuration. Data goes to standard output, everything else to standard error.

`make docs` generates this page from the program.
"""


def configuration_page() -> str:
    """A table for each group of variables."""
    lines = [CONFIGURATION]
    for title, group in GROUPS.items():
        lines += [f"## {title}", "", "| variable | value | default | meaning |", "|---|---|---|---|"]
        for name, field in group.model_fields.items():
            meaning = " ".join((field.description or "").split())
            lines.append(
                f"| `{settings.variable(group, name)}` | {kind(name, field)} | {default_of(group, name)} | {meaning} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def kind(name: str, field: FieldInfo) -> str:
    """What a value must be: ``seconds, 0.01 to 3600``."""
    parts = list(_parts(field))
    types = {part for part in parts if isinstance(part, type)}
    if options := settings.options_of(field.annotation):
        return "one of " + ", ".join(f"`{option}`" for option in options)
    if bool in types:
        return "`true` or `false`"
    if int in types or float in types:
        unit = next((unit for unit in UNITS if unit in name), "number" if float in types else "whole number")
        least = next((part.ge for part in parts if isinstance(part, annotated_types.Ge)), None)
        most = next((part.le for part in parts if isinstance(part, annotated_types.Le)), None)
        return f"{unit}, {_number(least)} to {_number(most)}"
    if dict in types:
        return "JSON object"
    if SecretStr in types:
        return "secret"
    if Path in types:
        return "folder" if name.endswith("_dir") else "file"
    return "address" if name.endswith("url") else "text"


def _parts(field: FieldInfo) -> Iterator[Any]:
    """A type, those inside it, and what is said of them."""
    yield from field.metadata
    waiting = [field.annotation]
    while waiting:
        one = waiting.pop()
        yield getattr(one, "__origin__", one)
        if isinstance(one, FieldInfo):
            yield from one.metadata
        waiting += [*get_args(one), *getattr(one, "__metadata__", ())]


def _number(value: Any) -> str:
    return "any" if value is None else str(int(value)) if value == int(value) else f"{value:g}"


def default_of(group: type[settings.SettingsGroup], name: str) -> str:
    """What holds without the variable; of topic and group it is each pipeline's own."""
    if group is settings.KafkaSettings and name in ("topic", "group"):
        first, *others = PIPELINES.values()
        return "; ".join(
            [default(getattr(first, name)), *(f"{other.name}: {default(getattr(other, name))}" for other in others)]
        )
    return default(group.model_fields[name].default)


def default(value: object) -> str:
    """``required``, ``none``, or the value."""
    if value is PydanticUndefined:
        return "required"
    match value:
        case None:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case float():
            return f"`{value:g}`"
        case _:
            return f"`{value}`"


def commands_page() -> str:
    """A section for each command."""
    return COMMANDS + "".join(f"\n{section}" for section in _sections(typer.main.get_command(cli), ""))


def _sections(group: Any, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _sections(command, f"{prefix}{name} ")
        elif not command.hidden:
            yield _section(f"{prefix}{name}", command)


def _section(name: str, command: TyperCommand) -> str:
    arguments = [one for one in command.params if isinstance(one, TyperArgument)]
    options = [one for one in command.params if isinstance(one, TyperOption) and not one.hidden]
    usage = " ".join(one.metavar or str(one.name).upper() for one in arguments)
    usage = " ".join(
        f"[{word}]" if not one.required else word for word, one in zip(usage.split(), arguments, strict=True)
    )
    text = " ".join((command.help or "").split("\f")[0].split())
    lines = [f"## `{name}{' ' + usage if usage else ''}`", "", text, ""]
    rows = [(f"`{str(one.name).upper()}`", one.help or "") for one in arguments if one.help]
    rows += [(_option(one), _with_default(one)) for one in options]
    if rows:
        lines += ["| option | meaning |", "|---|---|", *(f"| {what} | {meaning} |" for what, meaning in rows), ""]
    return "\n".join(lines)


def _option(option: TyperOption) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return f"{names} {option.metavar}" if option.metavar and not option.is_flag else names


def _with_default(option: TyperOption) -> str:
    text = " ".join((option.help or "").split()) + (" Required." if option.required else "")
    value = option.default
    if option.is_flag or value is None or callable(value) or value == ():
        return text
    return f"{text} Default: `{getattr(value, 'value', value)}`."


def pages() -> dict[str, str]:
    """Name -> content."""
    return {
        "errors.md": markdown_page(list(REGISTRY.values())),
        "configuration.md": configuration_page(),
        "commands.md": commands_page(),
    }


def main() -> int:
    """Write the pages, or say which of them are out of date."""
    stale = [name for name, text in pages().items() if not (HERE / name).exists() or (HERE / name).read_text() != text]
    if "--check" in sys.argv:
        for name in stale:
            sys.stderr.write(f"docs/{name} is not what the program says: run make docs\n")
        return int(bool(stale))
    for name, text in pages().items():
        (HERE / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
