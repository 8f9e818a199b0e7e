"""Refused credentials are an error from the first call on, not a remark about types of columns."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from app.cmt.errors import CallError
from app.flows.accounts import say_not_learned


@pytest.mark.parametrize("code", ["CMT-TOKEN-REFUSED", "CMT-AUTH"])
def test_refused_credentials_are_an_error_of_their_own_that_says_what_to_check(code: str) -> None:
    with capture_logs() as logged:
        say_not_learned("510001", CallError(code, "invalid_client"))
    (line,) = logged
    assert (line["log_level"], line["account"], line["reason"]) == ("error", "510001", code)
    assert line["event"].startswith("Marketing Cloud refuses us")
    assert "Check" in line["do"]


def test_variables_to_check_are_named() -> None:
    with capture_logs() as logged:
        say_not_learned("default", CallError("CMT-TOKEN-REFUSED", "invalid_client"))
    assert all(name in logged[0]["do"] for name in ("CMT_CLIENT_ID", "CMT_CLIENT_SECRET", "CMT_ACCOUNT_ID"))


def test_another_failure_of_that_call_is_no_error_of_ours() -> None:
    with capture_logs() as logged:
        say_not_learned("default", CallError("CMT-TIMEOUT", "no answer"))
    assert [(line["log_level"], line["reason"]) for line in logged] == [("info", "CMT-TIMEOUT")]
