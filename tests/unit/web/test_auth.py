"""Which tokens are accepted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import SecretStr

from app.settings import WebSettings
from app.web.auth import LONGEST_TOKEN, InvalidToken, TokenVerifier, bearer_token, sign
from app.web.key_set import KeysUnavailable

SECRET = "s" * 40
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RSA_PEM = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
RSA_PUBLIC_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
NOBODY = "http://127.0.0.1:1/keys"  # loopback; nothing listens on port 1


def _verifier(**settings: Any) -> TokenVerifier:
    return TokenVerifier(WebSettings.model_validate({"jwt_secret": SecretStr(SECRET), **settings}))


def _payload(**claims: Any) -> dict[str, Any]:
    payload = {"aud": "profile-sync", "scope": "kpi:read", "exp": int(time.time()) + 60} | claims
    return {name: value for name, value in payload.items() if value is not None}


def _hs256(secret: str | bytes = SECRET, **claims: Any) -> str:
    return jwt.encode(_payload(**claims), secret, algorithm="HS256")


def _by_hand(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def test_a_token_of_ours_is_accepted_with_its_scopes() -> None:
    expires = int(time.time()) + 60
    claims = await _verifier().verify(sign(SECRET, "profile-sync", ["kpi:read", "dlq:read"], expires))
    assert claims.scopes == {"kpi:read", "dlq:read"}
    assert claims.expires == expires


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("kpi:read  dlq:write", {"kpi:read", "dlq:write"}),
        (["kpi:read", "dlq:read"], {"kpi:read", "dlq:read"}),
        (["kpi:read", 7], {"kpi:read"}),
        (None, set()),
        (7, set()),
        ({"kpi:read": True}, set()),
    ],
)
async def test_scopes_come_as_text_or_as_a_list(scope: Any, granted: set[str]) -> None:
    assert (await _verifier().verify(_hs256(scope=scope))).scopes == granted


async def test_clocks_may_differ_a_little() -> None:
    await _verifier().verify(_hs256(exp=int(time.time()) - 3))


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (lambda: _hs256(exp=int(time.time()) - 60), "expired"),
        (lambda: _hs256(exp=None), "no exp"),
        (lambda: _hs256(exp="soon"), "not valid"),
        (lambda: _hs256(aud="another"), "audience"),
        (lambda: _hs256(aud=None), "no aud"),
        (lambda: _hs256(nbf=int(time.time()) + 600), "not valid"),
        (lambda: _hs256(secret="t" * 40), "not valid"),
        (lambda: _hs256()[:-4] + "AAAA", "not valid"),
        (lambda: _by_hand({"alg": "none", "typ": "JWT"}, _payload()), "algorithm"),
        (lambda: _by_hand({"alg": "None"}, _payload(), b"x"), "algorithm"),
        (lambda: _by_hand({"alg": ["HS256"]}, _payload(), b"x"), "algorithm"),
        (lambda: jwt.encode(_payload(), SECRET * 2, algorithm="HS512"), "algorithm"),
        (lambda: jwt.encode(_payload(), RSA_PEM, algorithm="RS256"), "algorithm"),
        (lambda: "abc", "not a JWT"),
        (lambda: "", "not a JWT"),
        (lambda: "ä.ö.ü", "not a JWT"),
        (lambda: "x" * (LONGEST_TOKEN + 1), "longer"),
    ],
)
async def test_anything_else_is_refused_and_the_reason_holds_nothing_of_it(token: Any, why: str) -> None:
    text = token()
    with pytest.raises(InvalidToken, match=why) as refused:
        await _verifier().verify(text)
    assert len(text) < 4 or text not in str(refused.value)


async def test_another_audience_can_be_configured() -> None:
    await _verifier(jwt_audience="crm").verify(_hs256(aud=["crm", "other"]))
    with pytest.raises(InvalidToken):
        await _verifier(jwt_audience="crm").verify(_hs256())


async def test_a_secret_means_nothing_when_only_keys_are_configured() -> None:
    verifier = _verifier(jwt_secret=None, jwks_url=NOBODY)
    for secret in (SECRET.encode(), RSA_PUBLIC_PEM):
        with pytest.raises(InvalidToken, match="algorithm"):
            await verifier.verify(_forged_hs256(secret))


def _forged_hs256(secret: bytes) -> str:
    # PyJWT refuses to sign with a PEM as a secret; an attacker does not.
    unsigned = _by_hand({"alg": "HS256"}, _payload()).rsplit(".", 1)[0]
    signature = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def test_keys_that_cannot_be_fetched_are_no_reason_to_call_a_token_bad() -> None:
    token = jwt.encode(_payload(), RSA_PEM, algorithm="RS256", headers={"kid": "1"})
    with pytest.raises(KeysUnavailable):
        await _verifier(jwt_secret=None, jwks_url=NOBODY).verify(token)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("Basic abc", None),
        ("Bearer abc", "abc"),
        ("bearer   abc  ", "abc"),
        ("BEARER a.b-c_d", "a.b-c_d"),
    ],
)
def test_the_token_is_taken_from_the_header(header: str | None, token: str | None) -> None:
    assert bearer_token(header) == token


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer a b", "Bearer ä", "Bearerabc"])
def test_a_bearer_header_without_a_token_is_refused(header: str) -> None:
    with pytest.raises(InvalidToken):
        bearer_token(header)
