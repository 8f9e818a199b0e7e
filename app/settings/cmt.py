"""How to reach Marketing Cloud (``CMT_*``)."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from app.settings.group import SettingsGroup
from app.settings.values import OptionalFile, OptionalText, OptionalUrl, Url, existing, refuse


def _time_zone(text: str) -> str:
    if not re.fullmatch(r"UTC(?:[+-](?:0?[0-9]|1[0-4])(?::[0-5][0-9])?)?", text):
        raise ValueError("must be a distance from UTC such as UTC-6, UTC+5:30 or UTC")
    return text


class CmtSettings(SettingsGroup):
    """How to reach Marketing Cloud (``CMT_*``)."""

    model_config = SettingsConfigDict(env_prefix="CMT_")

    auth_url: Url
    """Authentication address of the tenant, with or without `/v2/token`."""

    client_id: str
    """Client ID of the installed package."""

    client_secret: SecretStr
    """Client secret of the installed package."""

    account_id: OptionalText = None
    """MID of the business unit, for markets without one of their own; without it the package's own."""

    soap_url: OptionalUrl = None
    """SOAP address; without it the one that comes with the token."""

    wsdl: OptionalFile = None
    """WSDL file to use instead of the bundled one; the vendor's own serves as it is, and nothing is fetched."""

    timeout_seconds: Annotated[float, Field(ge=0.01, le=3600.0, allow_inf_nan=False)] = 30.0
    """How long one call may take."""

    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC-6"
    """Time zone of the dates that the account returns, a fixed distance from UTC; a market may have its own
    ([how](markets.md)).
    """

    ca_file: OptionalFile = None
    """PEM file of authorities to trust besides the system's, e.g. a proxy's."""

    batch_size: Annotated[int, Field(ge=1, le=50)] = 1
    """Rows in one call."""

    rate_per_second: Annotated[float, Field(ge=0.01, le=100_000.0, allow_inf_nan=False)] | None = None
    """Most calls per second, account and worker, 0.01 or more; down to a quarter of it while the account is
    throttled.
    """

    yearly_calls: Annotated[int, Field(ge=1, le=10**15)] | None = None
    """Calls that the contract allows; no effect yet."""

    data_extensions: OptionalFile = None
    """File that names data extensions, keys and columns, and what differs from market to market ([how](markets.md));
    without it [schemas/data-extensions.json](../schemas/data-extensions.json).
    """

    @model_validator(mode="after")
    def _files(self) -> Self:
        problems: list[str] = []
        for name in ("wsdl", "ca_file", "data_extensions"):
            problems += existing(getattr(self, name), f"CMT_{name.upper()}")
        refuse(problems)
        return self

    def for_account(self, account_id: str) -> Self:
        """The same for another account: a market of ``CMT_DATA_EXTENSIONS`` may name one."""
        return self.model_copy(update={"account_id": account_id})


class DataExtensionSettings(SettingsGroup):
    """``CMT_DATA_EXTENSIONS`` alone, for commands that check events and call nobody."""

    model_config = SettingsConfigDict(env_prefix="CMT_")

    data_extensions: OptionalFile = None

    @model_validator(mode="after")
    def _files(self) -> Self:
        problems: list[str] = []
        problems += existing(self.data_extensions, "CMT_DATA_EXTENSIONS")
        refuse(problems)
        return self
