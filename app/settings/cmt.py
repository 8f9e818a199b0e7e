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
        raise ValueError("must be an offset from UTC such as UTC-6, UTC+5:30 or UTC")
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
    """MID of the business unit for markets that do not name one; default: the package's own business unit."""

    soap_url: OptionalUrl = None
    """SOAP address; default: the one that the token endpoint returns."""

    wsdl: OptionalFile = None
    """WSDL file to use instead of the bundled one. The vendor's own file works unchanged; nothing is downloaded."""

    timeout_seconds: Annotated[float, Field(ge=0.01, le=3600.0, allow_inf_nan=False)] = 30.0
    """The longest time that a call may take."""

    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC-6"
    """Time zone of the dates that the account returns, as a fixed offset from UTC; a market may have its own
    ([how](markets.md)).
    """

    ca_file: OptionalFile = None
    """PEM file of authorities to trust in addition to the system's, for example that of a proxy."""

    batch_size: Annotated[int, Field(ge=1, le=50)] = 1
    """The most rows in one call."""

    rate_per_second: Annotated[float, Field(ge=0.01, le=100_000.0, allow_inf_nan=False)] | None = None
    """The most calls per second for each account and worker, at least 0.01; while the account is throttled, the rate
    drops to as little as a quarter of this.
    """

    yearly_calls: Annotated[int, Field(ge=1, le=10**15)] | None = None
    """Calls per year that the contract allows; no effect yet."""

    data_extensions: OptionalFile = None
    """File that names data extensions, keys and columns, and what differs between markets ([how](markets.md));
    default: [schemas/data-extensions.json](../schemas/data-extensions.json).
    """

    @model_validator(mode="after")
    def _files(self) -> Self:
        problems: list[str] = []
        for name in ("wsdl", "ca_file", "data_extensions"):
            problems += existing(getattr(self, name), f"CMT_{name.upper()}")
        refuse(problems)
        return self

    def for_account(self, account_id: str) -> Self:
        """The same settings for another account, which a market of ``CMT_DATA_EXTENSIONS`` may name."""
        return self.model_copy(update={"account_id": account_id})


class DataExtensionSettings(SettingsGroup):
    """``CMT_DATA_EXTENSIONS`` alone, for commands that check events but make no calls."""

    model_config = SettingsConfigDict(env_prefix="CMT_")

    data_extensions: OptionalFile = None

    @model_validator(mode="after")
    def _files(self) -> Self:
        problems: list[str] = []
        problems += existing(self.data_extensions, "CMT_DATA_EXTENSIONS")
        refuse(problems)
        return self
