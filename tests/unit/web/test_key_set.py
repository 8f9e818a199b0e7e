"""What an identity provider answers: one key that cannot be used never costs the others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.web.key_set import KeysUnavailable, _keys
from tests.support.examples import examples
from tests.unit.limits.foreign import ANY_JSON

RSA: dict[str, Any] = {
    **json.loads(RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key())),
    "kid": "rsa",
}
EC: dict[str, Any] = {
    **json.loads(ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())),
    "kid": "ec",
    "use": "sig",
}


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "bad",
    [
        RSA | {"kid": ["rsa"]},
        RSA | {"kid": {"rsa": 1}},
        RSA | {"kid": 7},
        RSA | {"kid": ""},
        RSA | {"kid": "enc", "use": "enc"},
        RSA | {"kid": "other", "use": ["sig"]},
        RSA | {"kid": "bad", "alg": ["RS256"]},
        RSA | {"kid": "bad", "alg": "RS1"},
        RSA | {"kid": "bad", "n": 5},
        RSA | {"kid": "bad", "n": "\x00\ud800"},
        RSA | {"kid": "bad", "e": ""},
        EC | {"kid": "bad", "x": "AA"},
        EC | {"kid": "bad", "crv": ["P-256"]},
        EC | {"kid": "bad", "crv": "P-999"},
        {"kid": "secret", "kty": "oct", "k": "AAAA"},
        {"kid": "bad", "kty": ["RSA"]},
        {},
        [],
        None,
        "key",
        7,
    ],
)
def test_a_key_that_cannot_be_used_costs_none_of_the_others(bad: Any) -> None:
    assert set(_keys(key_set(EC, bad, RSA))) == {"ec", "rsa"}


@settings(max_examples=examples(150), deadline=None)
@given(ANY_JSON, ANY_JSON, ANY_JSON)
def test_whatever_stands_beside_good_keys_or_in_them(key_id: Any, algorithm: Any, anything: Any) -> None:
    odd = [RSA | {"kid": key_id, "alg": algorithm}, EC | {"crv": anything, "kid": key_id}, anything]
    try:
        body = json.dumps({"keys": [EC, *odd, RSA]}, allow_nan=False).encode("utf-8", "surrogatepass")
        found = _keys(body)
    except (KeysUnavailable, ValueError):
        return  # no JSON as a whole
    assert {"ec", "rsa"} <= set(found)
    assert all(isinstance(name, str) for name in found)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":"a"}', b'{"keys":[]}', key_set({}), b"[" * 100_000, b"\xff"]
)
def test_an_answer_without_any_key_that_can_be_used_is_no_key_set(body: bytes) -> None:
    with pytest.raises(KeysUnavailable, match="no key set"):
        _keys(body)
