"""How to reach ServiceNow (``SERVICENOW_*``); without a URL, incidents are only logged."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from app.settings.group import SettingsGroup
from app.settings.values import WEEK_SECONDS, OptionalSecret, OptionalText, OptionalUrl, refuse

_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,79}")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a name is given twice")
    return found


def _is_text_or_number(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _texts_by_name(value: Any) -> Any:
    """ServiceNow's field names and values, all as text; numbers and true/false are spelled as in JSON."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value, object_pairs_hook=_members)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict) or not all(map(_is_text_or_number, value.values())):
        raise ValueError('must be a JSON object of texts and numbers such as {"caller_id": "Sync"}')
    if wrong := [name for name in value if not _FIELD_NAME.fullmatch(name)]:
        raise ValueError(f"these are not names of fields: {', '.join(sorted(wrong)[:5])}")
    return {name: one if isinstance(one, str) else json.dumps(one) for name, one in value.items()}


class ServiceNowSettings(SettingsGroup):
    """How to reach ServiceNow (``SERVICENOW_*``); without a URL, incidents are only logged."""

    model_config = SettingsConfigDict(env_prefix="SERVICENOW_")

    url: OptionalUrl = None
    """Address of the instance; without it, incidents are only logged."""

    username: OptionalText = None
    """User for basic authentication."""

    password: OptionalSecret = None
    """That user's password."""

    client_id: OptionalText = None
    """OAuth client, to use instead of a user."""

    client_secret: OptionalSecret = None
    """That client's secret."""

    note_every_seconds: Annotated[float, Field(ge=0.0, le=WEEK_SECONDS, allow_inf_nan=False)] = 300.0
    """The shortest time between two work notes of an open incident."""

    assignment_group: OptionalText = None
    """Assignment group of new incidents."""

    fields: Annotated[dict[str, str] | None, NoDecode, BeforeValidator(_texts_by_name)] = None
    """JSON object of further fields for new incidents, for example those that a data policy requires. They override
    this program's own fields. `close_code` and `close_notes` are sent when an incident is resolved.
    """

    resolve_minutes: Annotated[float, Field(ge=0.0, le=525_600.0, allow_inf_nan=False)] = 30.0
    """An incident about dead letters is resolved when none of them is open any more and no such event failed for this
    long. Another incident is resolved when its cause has not appeared for this long, or earlier if the cause is
    reported as over. 0 = incidents are only resolved when their cause is reported as over.
    """

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        problems: list[str] = []
        if (self.username is None) != (self.password is None):
            problems.append("SERVICENOW_USERNAME and SERVICENOW_PASSWORD go together")
        if (self.client_id is None) != (self.client_secret is None):
            problems.append("SERVICENOW_CLIENT_ID and SERVICENOW_CLIENT_SECRET go together")
        if self.url is not None and self.username is None and self.client_id is None:
            problems.append(
                "SERVICENOW_URL needs SERVICENOW_USERNAME and SERVICENOW_PASSWORD, or a client ID and secret"
            )
        refuse(problems)
        return self
