"""Errors of calls to Marketing Cloud.

Marketing Cloud's own error codes are classified as its pages say: "SOAP Faults", "1-99 General", "310000-310099
DataExtension Object" and "70000-71999 Custom Object".
"""

from __future__ import annotations

from app.delivery.error_registry import ErrorClass, register

_T, _TH, _A, _P = ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.AUTH, ErrorClass.PERMANENT

# Tokens. Without a token every call fails: events wait and do not become dead letters.
CMT_TOKEN_REFUSED = register(
    "CMT-TOKEN-REFUSED",
    _A,
    "The token endpoint refused the client ID or the secret.",
    "Check CMT_CLIENT_ID, CMT_CLIENT_SECRET, CMT_ACCOUNT_ID and that the package is enabled.",
    every_call=True,
)
CMT_TOKEN_UNAVAILABLE = register(
    "CMT-TOKEN-UNAVAILABLE",
    _T,
    "The token endpoint did not answer or answered with an error.",
    "Wait; if it goes on, check CMT_AUTH_URL.",
    every_call=True,
)
CMT_TOKEN_THROTTLED = register(
    "CMT-TOKEN-THROTTLED",
    _TH,
    "The token endpoint asks for fewer requests.",
    "Wait; nothing else to do.",
    every_call=True,
)
CMT_TOKEN_MALFORMED = register(
    "CMT-TOKEN-MALFORMED",
    _T,
    "The token endpoint's answer is not a token.",
    "Check that CMT_AUTH_URL points at the tenant's authentication address.",
    every_call=True,
)
CMT_AUTH = register(
    "CMT-AUTH",
    _A,
    "Marketing Cloud refused a fresh token.",
    "Check the package's permissions, and that the token is for the right account.",
    every_call=True,
)

# The call as a whole
CMT_TIMEOUT = register(
    "CMT-TIMEOUT",
    _T,
    "No answer in time.",
    "Wait; the call is repeated. Dead letters: `dlq redrive --reason CMT-TIMEOUT`.",
    transport=True,
)
CMT_CONNECTION = register(
    "CMT-CONNECTION",
    _T,
    "No connection could be made, or it broke.",
    "If it goes on, check the network, the proxy and CMT_SOAP_URL. Dead letters: `dlq redrive --reason "
    "CMT-CONNECTION`.",
    transport=True,
)
CMT_CERTIFICATE = register(
    "CMT-CERTIFICATE",
    _T,
    "The certificate of Marketing Cloud, or of the proxy, is not trusted.",
    "If a proxy inspects TLS, name its certificate authority in CMT_CA_FILE. Otherwise check the address and the "
    "certificate's dates.",
    transport=True,
)
CMT_UNAVAILABLE = register(
    "CMT-UNAVAILABLE", _T, "HTTP 5xx without a SOAP answer.", "Wait; look at the vendor's status page.", transport=True
)
CMT_HTTP_REFUSED = register(
    "CMT-HTTP-REFUSED",
    _P,
    "HTTP 400, 413 or the like without a SOAP answer: something on the way refuses this request, or every request.",
    "In an outage: check CMT_SOAP_URL and the proxy. In a dead letter: check whether a firewall or proxy rejects "
    "the event's values. Then `dlq redrive --reason CMT-HTTP-REFUSED`, or change the value with `dlq edit ID`.",
    doubtful=True,
)
CMT_ENDPOINT = register(
    "CMT-ENDPOINT",
    _T,
    "A redirect, HTTP 403, 404, 405 or 407 without a SOAP answer: the address is not the SOAP endpoint.",
    "Check CMT_AUTH_URL, CMT_SOAP_URL and the proxy.",
    transport=True,
)
CMT_RATE_LIMITED = register(
    "CMT-RATE-LIMITED",
    _TH,
    "The account is throttled (fault 17, or HTTP 429).",
    "Lower CMT_RATE_PER_SECOND.",
    transport=True,
)
CMT_BLOCKED = register(
    "CMT-BLOCKED",
    _T,
    "Marketing Cloud has blocked the account (50200): no call gets through, and repeating calls does not help.",
    "Ask the vendor's support how to lift the block; then work resumes by itself.",
    every_call=True,
)
CMT_PERMISSION = register(
    "CMT-PERMISSION",
    _P,
    "The account may not read or write this data extension.",
    "Give the installed package the right on the data extension that the message names. Then `dlq redrive "
    "--reason CMT-PERMISSION`, and `verify --repair` for events that ended as partial.",
)
CMT_NOT_ALLOWED = register(
    "CMT-NOT-ALLOWED",
    _A,
    "The account lacks a right without which an operation cannot be carried out at all.",
    "Give the installed package the right that the message names, on all data extensions. The events wait; then work "
    "resumes by itself.",
)
CMT_ADDRESS_REFUSED = register(
    "CMT-ADDRESS-REFUSED",
    _A,
    "Marketing Cloud refuses calls from this IP address: the account has an allow list.",
    "Add the address that the workers call from to the allow list (Setup, Security). Then work resumes by itself.",
    every_call=True,
)
CMT_MAINTENANCE = register(
    "CMT-MAINTENANCE", _T, "Marketing Cloud is under maintenance (fault 8, 9, 10).", "Wait.", transport=True
)
CMT_SERVER_FAULT = register(
    "CMT-SERVER-FAULT",
    _T,
    "Marketing Cloud reports a problem of its own (fault 1, 2, 13 ...).",
    "Wait.",
    transport=True,
)
CMT_CLIENT_FAULT = register(
    "CMT-CLIENT-FAULT",
    _P,
    "Marketing Cloud refuses the request with a client fault: this request, or every request.",
    "In an outage: check CMT_SOAP_URL, and that the API user is active. In a dead letter: check CMT_WSDL, and "
    "report it with the masked message. Then `dlq redrive --reason CMT-CLIENT-FAULT`.",
    doubtful=True,
)
CMT_MALFORMED = register(
    "CMT-MALFORMED",
    _T,
    "The answer is not the SOAP message it should be (cut off, not XML, no results).",
    "Wait; if it goes on, look for a proxy that rewrites answers.",
    transport=True,
)
CMT_BUSY = register(
    "CMT-BUSY",
    _T,
    "Marketing Cloud was too busy: its database was too slow, or it asks to try again later.",
    "Wait; if it goes on, lower SYNC_CONCURRENCY. Dead letters: `dlq redrive --reason CMT-BUSY`.",
)
CMT_RETRIEVE_FAILED = register(
    "CMT-RETRIEVE-FAILED",
    _T,
    "A Retrieve ended with an OverallStatus error that is not known here and may pass.",
    "Wait; if it goes on, read the message. Dead letters: `dlq redrive --reason CMT-RETRIEVE-FAILED`.",
)
CMT_RETRIEVE_ERROR = register(
    "CMT-RETRIEVE-ERROR",
    _P,
    "A Retrieve ended with an OverallStatus error that will not pass.",
    "Check the data extension's key and columns in CMT_DATA_EXTENSIONS. Then `dlq redrive --reason "
    "CMT-RETRIEVE-ERROR`.",
)
CMT_RETRIEVE_EXPIRED = register(
    "CMT-RETRIEVE-EXPIRED",
    _T,
    "The next page of a Retrieve was requested too late (unknown RequestID in ContinueRequest).",
    "Wait; the Retrieve starts over. Dead letters: `dlq redrive --reason CMT-RETRIEVE-EXPIRED`.",
)
CMT_FOREIGN_ROWS = register(
    "CMT-FOREIGN-ROWS",
    _P,
    "A Retrieve returned rows of other consumers. None of them was changed.",
    "Check that ConsumerId is a text column of the data extension and can be filtered; report the error. Then "
    "`dlq redrive --reason CMT-FOREIGN-ROWS`.",
)
CMT_CONSUMER_SPELLING = register(
    "CMT-CONSUMER-SPELLING",
    _P,
    "Rows are held under another spelling of the consumer's ID (upper or lower case, trailing blanks). Marketing Cloud "
    "treats both spellings as one consumer, so none of these rows was changed.",
    "Find out whose rows they are. One person: have the producer use one spelling, publish a DELETE of scope "
    "PROFILE under the other spelling, then `dlq redrive ID`. Two persons: Marketing Cloud cannot hold both; give "
    "one of them another ID, then `dlq discard ID`.",
)
CMT_NOT_XML_TEXT = register(
    "CMT-NOT-XML-TEXT",
    _P,
    "A value contains a character that XML cannot carry (control character, lone surrogate).",
    "Remove the character with `dlq edit ID`, then `dlq redrive ID`. Correct the value at its source too.",
)

# One row of a call
CMT_ROW_INVALID = register(
    "CMT-ROW-INVALID",
    _P,
    "Marketing Cloud refused the row's values.",
    "The message names the column. If the column is wrong: correct it in Marketing Cloud, then `dlq redrive "
    "--reason CMT-ROW-INVALID`. If the value is wrong: `dlq edit ID`, then `dlq redrive ID`.",
)
CMT_ROW_MISSING_KEY = register(
    "CMT-ROW-MISSING-KEY",
    _P,
    "The row has no primary key, or a wrong one.",
    "Check the primary key in CMT_DATA_EXTENSIONS. Then `dlq redrive --reason CMT-ROW-MISSING-KEY`.",
)
CMT_DATA_EXTENSION = register(
    "CMT-DATA-EXTENSION",
    _P,
    "Marketing Cloud does not know the data extension (70003), or the data extension has no primary key.",
    "Check customerKey in CMT_DATA_EXTENSIONS, and that the account (CMT_ACCOUNT_ID) sees the data extension. "
    "Then `dlq redrive --reason CMT-DATA-EXTENSION`.",
)
CMT_ROW_EXISTS = register("CMT-ROW-EXISTS", _P, "The row already exists.", "Upserts never cause this; report it.")
CMT_ROW_NOT_FOUND = register("CMT-ROW-NOT-FOUND", _P, "The row does not exist.", "Deletes accept this; nothing to do.")
CMT_ROW_KEPT = register(
    "CMT-ROW-KEPT",
    _P,
    "A row is still there after its delete. Its key has a Date column. Marketing Cloud returns dates without fractions "
    "of a second, so the key that it returned is not the row's key.",
    "Delete the row in Marketing Cloud, then `dlq redrive ID`. Better: use a text column as the key.",
)
CMT_ROW_CONTENTION = register(
    "CMT-ROW-CONTENTION",
    _T,
    "The row was locked or in a deadlock.",
    "Wait; if it goes on, lower SYNC_CONCURRENCY. Dead letters: `dlq redrive --reason CMT-ROW-CONTENTION`.",
)
CMT_ROW_ABORTED = register(
    "CMT-ROW-ABORTED",
    _T,
    "Marketing Cloud did not finish the row (2, 13, 71000, 71001, 71006).",
    "Wait; if it goes on, lower CMT_BATCH_SIZE. Dead letters: `dlq redrive --reason CMT-ROW-ABORTED`.",
)
CMT_ROW_ERROR = register(
    "CMT-ROW-ERROR",
    _P,
    "The row failed with a code that is not known here.",
    "Read the message and the code with `dlq show ID`. When the cause is gone: `dlq redrive --reason CMT-ROW-ERROR`.",
)

CMT_OUTAGE = register(
    "CMT-OUTAGE",
    _T,
    "An account of Marketing Cloud has not answered for a while: its circuit breaker is open and its events wait.",
    "The message names the cause. If it is credentials or an address, correct them; otherwise look at the vendor's "
    "status page. Nothing is lost and nothing has to be published again: work resumes by itself.",
)
