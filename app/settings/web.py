"""The pages and the API (``WEB_*``)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from app.settings.group import SettingsGroup
from app.settings.values import OptionalFile, OptionalSecret, OptionalUrl, existing, is_loopback, refuse


def _long_enough(secret: SecretStr) -> list[str]:
    if len(secret.get_secret_value().encode()) < 32:
        return ["WEB_JWT_SECRET must have at least 32 bytes (RFC 7518, 3.2)"]
    return []


class WebSettings(SettingsGroup):
    """The pages and the API (``WEB_*``)."""

    model_config = SettingsConfigDict(env_prefix="WEB_")

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: Annotated[int, Field(ge=0, le=65535)] = 6066
    """Port to listen on; 0 = a free one."""

    auth: Literal["jwt", "off"] = "jwt"
    """`off`: no token is required; only allowed on loopback."""

    jwt_secret: OptionalSecret = None
    """Key that HS256 tokens are checked with; at least 32 bytes. `jwt` requires this or `WEB_JWKS_URL`."""

    jwks_url: OptionalUrl = None
    """Address of an identity provider's keys, with which RS256 and ES256 tokens are checked."""

    jwt_audience: str = "profile-sync"
    """The audience that a token must name."""

    tls_cert: OptionalFile = None
    """PEM certificate, to serve HTTPS."""

    tls_key: OptionalFile = None
    """PEM key of that certificate."""

    public_url: OptionalUrl = None
    """Address at which people reach the page, for example behind a proxy. Tickets link to it. With `https://`, cookies
    are only sent over TLS.
    """

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        problems: list[str] = []
        if self.auth == "off" and not is_loopback(self.host):
            problems.append("WEB_AUTH=off is refused unless WEB_HOST is loopback (127.0.0.1, ::1, localhost)")
        if self.auth == "jwt" and self.jwt_secret is None and self.jwks_url is None:
            problems.append("WEB_AUTH=jwt needs WEB_JWT_SECRET (HS256) or WEB_JWKS_URL (RS256, ES256)")
        if self.jwt_secret is not None:
            problems += _long_enough(self.jwt_secret)
        if (self.tls_cert is None) != (self.tls_key is None):
            problems.append("WEB_TLS_CERT and WEB_TLS_KEY go together")
        for name in ("tls_cert", "tls_key"):
            problems += existing(getattr(self, name), f"WEB_{name.upper()}")
        refuse(problems)
        return self


class TokenSettings(SettingsGroup):
    """The part of ``WebSettings`` that the ``token`` command needs to sign a web token."""

    model_config = SettingsConfigDict(env_prefix="WEB_")

    jwt_secret: SecretStr
    jwt_audience: str = "profile-sync"

    @model_validator(mode="after")
    def _signed_well(self) -> Self:
        problems: list[str] = []
        problems += _long_enough(self.jwt_secret)
        refuse(problems)
        return self
