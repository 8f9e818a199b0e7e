"""Which answer of Marketing Cloud means what."""

from __future__ import annotations

import pytest

from app.cmt.errors import Fault, of_fault, of_no_results, of_retrieve, of_row, of_status
from app.delivery.errors import REGISTRY, ErrorClass

DEADLOCK = "Transaction (Process ID 87) was deadlocked and has been chosen as the victim. Rerun the transaction."


@pytest.mark.parametrize(
    ("fault", "code", "outcome_unknown"),
    [
        (Fault("Security", "Token Expired"), "CMT-AUTH", False),
        (Fault("Security", "Login failed"), "CMT-AUTH", False),
        (Fault("Server", "Login failed", 12), "CMT-AUTH", False),
        (Fault("FailedAuthentication", "Login Failed"), "CMT-AUTH", False),
        (Fault("FailedCheck", "The signature is invalid."), "CMT-AUTH", False),
        (Fault("InvalidSecurityToken", "An invalid security token was provided"), "CMT-AUTH", False),
        (Fault("FailedAuthentication", "could not be authenticated or authorized"), "CMT-AUTH", False),
        (Fault("Client", "The API User is inactive."), "CMT-CLIENT-FAULT", False),
        (Fault("Client", "Your IP address is not allowlisted"), "CMT-ADDRESS-REFUSED", False),
        (
            Fault("Client", "Unauthorized: IP address 192.0.2.7 is not in the allow list"),
            "CMT-ADDRESS-REFUSED",
            False,
        ),
        (Fault("Security", "Access denied by IP restrictions"), "CMT-ADDRESS-REFUSED", False),
        (Fault("Server", "API Permission Failed: this IP Address is restricted", 11), "CMT-ADDRESS-REFUSED", False),
        (Fault("Client", "Not allowed: column IPAddress"), "CMT-PERMISSION", False),
        (Fault("Server", "Not allowed", 11), "CMT-PERMISSION", False),
        (Fault("Client", "Token Expired"), "CMT-AUTH", False),
        (Fault("Client", "The request is not authorized."), "CMT-PERMISSION", False),
        (Fault("Security", "Insufficient privileges"), "CMT-PERMISSION", False),
        (Fault("Server", "API Permission Failed"), "CMT-PERMISSION", False),
        (Fault("Server", "authorization service unavailable", 2), "CMT-SERVER-FAULT", True),
        (Fault("Server", DEADLOCK, 2), "CMT-ROW-CONTENTION", False),
        (Fault("Server", "Cannot insert duplicate key in object 'dbo.x'.", 2), "CMT-ROW-CONTENTION", False),
        (Fault("Client", "Timeout expired."), "CMT-BUSY", True),
        (Fault("Server", "Timeout expired.", 2), "CMT-SERVER-FAULT", True),
        (Fault("Server", "Slow down", 50100), "CMT-RATE-LIMITED", False),
        (Fault("Server", "Blocked", 50200), "CMT-BLOCKED", False),
        (Fault("Server", "Exception occurred during [Update] ErrorID: 50200", 2), "CMT-SERVER-FAULT", True),
        (Fault("Server", "Rate Limited", 17), "CMT-RATE-LIMITED", False),
        (Fault("Server", "Come back later", 17), "CMT-RATE-LIMITED", False),
        (Fault("Server", "Rate Limited"), "CMT-RATE-LIMITED", False),
        (Fault("Server", "In maintenance", 9), "CMT-MAINTENANCE", False),
        (Fault("Server", "In maintenance", 10), "CMT-MAINTENANCE", False),
        (Fault("Server", "Unsupported object", 8), "CMT-MAINTENANCE", False),
        (Fault("Server", "Unplanned Outage", 2), "CMT-SERVER-FAULT", True),
        (Fault("Server", "database problems", 13), "CMT-SERVER-FAULT", False),
        (Fault("Server", "never seen", 4711), "CMT-SERVER-FAULT", True),
        (Fault("", "", None), "CMT-SERVER-FAULT", True),
        (
            Fault("Client", "Server did not recognize the value of HTTP Header SOAPAction: X."),
            "CMT-CLIENT-FAULT",
            False,
        ),
        (Fault("VersionMismatch", ""), "CMT-CLIENT-FAULT", False),
    ],
)
def test_faults(fault: Fault, code: str, outcome_unknown: bool) -> None:
    verdict = of_fault(fault)
    assert (verdict.entry.code, verdict.outcome_unknown) == (code, outcome_unknown)


def test_only_faults_about_the_token_are_worth_a_new_one() -> None:
    assert of_fault(Fault("Security", "Token Expired")).token_refused
    assert of_fault(Fault("FailedAuthentication", "Login Failed")).token_refused
    assert of_fault(Fault("InvalidSecurityToken", "")).token_refused
    assert not of_fault(Fault("FailedAuthentication", "Login from this IP address is restricted")).token_refused
    assert of_fault(Fault("Server", "Login failed", 12)).token_refused
    assert of_fault(Fault("Client", "Token Expired")).token_refused
    assert of_fault(Fault("Client", "not authorized")).token_refused
    assert of_status(401).token_refused
    assert not of_fault(Fault("Server", "Not allowed", 11)).token_refused


@pytest.mark.parametrize(
    ("status", "code", "outcome_unknown"),
    [
        (200, "CMT-MALFORMED", True),
        (204, "CMT-MALFORMED", True),
        (302, "CMT-ENDPOINT", False),
        (400, "CMT-HTTP-REFUSED", False),
        (401, "CMT-AUTH", False),
        (403, "CMT-ENDPOINT", False),
        (404, "CMT-ENDPOINT", False),
        (407, "CMT-ENDPOINT", False),
        (408, "CMT-TIMEOUT", True),
        (413, "CMT-HTTP-REFUSED", False),
        (429, "CMT-RATE-LIMITED", False),
        (500, "CMT-UNAVAILABLE", True),
        (503, "CMT-UNAVAILABLE", True),
    ],
)
def test_http_answers_without_soap(status: int, code: str, outcome_unknown: bool) -> None:
    verdict = of_status(status)
    assert (verdict.entry.code, verdict.outcome_unknown) == (code, outcome_unknown)


@pytest.mark.parametrize("status", [403, 429, 503])
def test_a_blocked_account_is_told_from_a_throttled_one(status: int) -> None:
    assert of_status(status, b'{"errorcode": 50200}').entry.code == "CMT-BLOCKED"
    assert of_status(status, b'{"errorcode": 50100}').entry.code == of_status(status).entry.code
    assert of_status(status, b"<p>Reference 50200</p>").entry.code == of_status(status).entry.code


@pytest.mark.parametrize(
    ("error_code", "text", "column_errors", "code"),
    [
        (2, "Cannot locate the existing record. Required keys are missing.", False, "CMT-ROW-MISSING-KEY"),
        (2, "An error occurred.", True, "CMT-ROW-INVALID"),
        (2, DEADLOCK, True, "CMT-ROW-CONTENTION"),
        (310006, "Timeout expired. The timeout period elapsed.", False, "CMT-ROW-ABORTED"),
        (None, "The system is in maintenance.", False, "CMT-MAINTENANCE"),
        (70002, "The value [maintenance, try again] is too long.", True, "CMT-ROW-INVALID"),
        (4711, "Rate Limited", False, "CMT-RATE-LIMITED"),
        (50200, "", False, "CMT-BLOCKED"),
        (12, "Login failed", False, "CMT-AUTH"),
        (11, "", False, "CMT-PERMISSION"),
        (None, "API Permission Failed", False, "CMT-PERMISSION"),
        (None, "Unauthorized IP address", False, "CMT-ADDRESS-REFUSED"),
        (310007, "Errors occurred with values specified.", True, "CMT-ROW-INVALID"),
        (70002, "exceeds the column's maximum length", False, "CMT-ROW-INVALID"),
        (71003, "missing required field", False, "CMT-ROW-INVALID"),
        (310001, "no key found", False, "CMT-ROW-MISSING-KEY"),
        (70003, "no such data extension", False, "CMT-DATA-EXTENSION"),
        (310003, "add only", False, "CMT-ROW-EXISTS"),
        (71002, "skipped", False, "CMT-ROW-EXISTS"),
        (310002, "not found", False, "CMT-ROW-NOT-FOUND"),
        (310004, "update only", False, "CMT-ROW-NOT-FOUND"),
        (2, "unexpected", False, "CMT-ROW-ABORTED"),
        (71000, "timed out", False, "CMT-ROW-ABORTED"),
        (71001, "aborted", False, "CMT-ROW-ABORTED"),
        (71006, "aborted", False, "CMT-ROW-ABORTED"),
        (17, "Rate Limited", False, "CMT-RATE-LIMITED"),
        (310006, "processing error", False, "CMT-ROW-ERROR"),
        (310006, DEADLOCK, False, "CMT-ROW-CONTENTION"),
        (310007, DEADLOCK.upper() + " \n", True, "CMT-ROW-CONTENTION"),
        (None, "", False, "CMT-ROW-ERROR"),
        (4711, "never seen", True, "CMT-ROW-INVALID"),
    ],
)
def test_row_errors(error_code: int | None, text: str, column_errors: bool, code: str) -> None:
    assert of_row(error_code, ("", text), column_errors=column_errors).code == code


@pytest.mark.parametrize(
    ("overall_status", "code"),
    [
        ("Error: Unable to find a handler for object type: X.", "CMT-RETRIEVE-ERROR"),
        ("Error: The Request Property(s) X do not match with the fields of Y retrieve", "CMT-RETRIEVE-ERROR"),
        ("Error: API Permission Failed for Retrieve", "CMT-PERMISSION"),
        ("Error: Login is not allowed from this IP address", "CMT-ADDRESS-REFUSED"),
        ("Error: The RequestID sent through ContinueRequest does not exist.", "CMT-RETRIEVE-EXPIRED"),
        (f"Error: {DEADLOCK}", "CMT-ROW-CONTENTION"),
        ("Error: Invalid column name 'X'.", "CMT-RETRIEVE-ERROR"),
        ("Error: Data extension does not exist: CMT_Pet", "CMT-RETRIEVE-ERROR"),
        ("Error: Timeout expired. The timeout period elapsed prior to completion of the operation.", "CMT-BUSY"),
        ("Error: Execution Timeout Expired.", "CMT-BUSY"),
        ("Error: Synchronous request cannot be completed at this time due to database problems", "CMT-BUSY"),
        ("Error: It was deadlocked on lock resources. Rerun the transaction. ErrorID: 1", "CMT-ROW-CONTENTION"),
        ("Error: The system is in maintenance", "CMT-MAINTENANCE"),
        ("Error: Rate Limited", "CMT-RATE-LIMITED"),
        ("Error: Token Expired", "CMT-AUTH"),
        ("Error: Something that nobody has ever seen", "CMT-RETRIEVE-FAILED"),
        ("Has Errors", "CMT-RETRIEVE-FAILED"),
    ],
)
def test_errors_in_the_overall_status_of_a_retrieve(overall_status: str, code: str) -> None:
    assert of_retrieve(overall_status).entry.code == code


@pytest.mark.parametrize("text", ["Has Errors", "Error: nobody has ever seen this", "Error: Timeout expired."])
def test_a_read_that_failed_for_an_unknown_reason_is_tried_again(text: str) -> None:
    assert of_retrieve(text).entry.error_class.retried


@pytest.mark.parametrize(
    ("overall_status", "code"),
    [
        ("Error: Timeout expired.", "CMT-BUSY"),
        (f"Error: {DEADLOCK}", "CMT-ROW-CONTENTION"),
        ("Error: Rate Limited", "CMT-RATE-LIMITED"),
        ("OK", "CMT-MALFORMED"),
    ],
)
def test_the_answer_to_a_write_without_any_result(overall_status: str, code: str) -> None:
    verdict = of_no_results(overall_status)
    assert (verdict.entry.code, verdict.outcome_unknown) == (code, True)


def test_whatever_concerns_every_call_counts_against_the_target_and_is_tried_again() -> None:
    about_tokens = {"CMT-AUTH"} | {code for code in REGISTRY if code.startswith("CMT-TOKEN-")}
    about_calls = {"CMT-TIMEOUT", "CMT-CONNECTION", "CMT-UNAVAILABLE", "CMT-ENDPOINT", "CMT-RATE-LIMITED"}
    about_calls |= {"CMT-MAINTENANCE", "CMT-SERVER-FAULT", "CMT-MALFORMED"}
    entries = [REGISTRY[code] for code in about_tokens | about_calls]
    assert [entry.code for entry in entries if not (entry.transport and entry.error_class.retried)] == []


def test_no_row_error_counts_against_the_target() -> None:
    rows = [entry for code, entry in REGISTRY.items() if code.startswith("CMT-ROW-")]
    assert rows
    assert not any(entry.transport for entry in rows)
    assert {entry.code for entry in rows if entry.error_class is ErrorClass.TRANSIENT} == {
        "CMT-ROW-CONTENTION",
        "CMT-ROW-ABORTED",
    }
