"""The registry of everything that can go wrong with an event: stable codes, their class, and what to do.

A code is part of the public surface: it stands in headers, KPI rows, tickets and on the dead-letter page. The list for
operators, ``docs/errors.md``, is generated from here. Classification of Marketing Cloud's own error codes follows its
pages "SOAP Faults", "1-99 General", "310000-310099 DataExtension Object" and "70000-71999 Custom Object".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorClass(StrEnum):
    """What kind of answer an error needs."""

    TRANSIENT = "transient"  # may pass by itself: try again later
    THROTTLED = "throttled"  # too fast: try again later, and slower
    AUTH = "auth"  # token or credentials
    PERMANENT = "permanent"  # the same call will fail again
    INVALID = "invalid"  # the event itself cannot be worked on

    @property
    def retried(self) -> bool:
        """Whether another attempt of the event makes sense."""
        return self in (ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.AUTH)


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """One line of the registry."""

    code: str
    error_class: ErrorClass
    meaning: str
    remedy: str
    transport: bool = False  # says something about the target's health, so the circuit breaker counts it
    every_call: bool = False  # meets every call alike, so the circuit breaker need not count
    doubtful: bool = False  # meets this call or every one: the circuit breaker asks whether something else gets through

    @property
    def refuses_us(self) -> bool:
        """Whether Marketing Cloud, if every call meets this, is there and does not take what we bring."""
        return self.error_class is ErrorClass.AUTH or self.doubtful


REGISTRY: dict[str, ErrorEntry] = {}


def _entry(
    code: str,
    error_class: ErrorClass,
    meaning: str,
    remedy: str,
    *,
    transport: bool = False,
    every_call: bool = False,
    doubtful: bool = False,
) -> ErrorEntry:
    if code in REGISTRY:
        raise ValueError(f"error code {code} is registered twice")
    REGISTRY[code] = ErrorEntry(code, error_class, meaning, remedy, transport or every_call, every_call, doubtful)
    return REGISTRY[code]


_T, _TH, _A, _P, _I = (
    ErrorClass.TRANSIENT,
    ErrorClass.THROTTLED,
    ErrorClass.AUTH,
    ErrorClass.PERMANENT,
    ErrorClass.INVALID,
)

# The event itself
EVENT_NO_KEY = _entry(
    "EVENT-NO-KEY", _I, "The record has no key.", "Have the producer use consumerId as the Kafka key."
)
EVENT_KEY_NOT_TEXT = _entry(
    "EVENT-KEY-NOT-TEXT", _I, "The key is not UTF-8 text.", "Have the producer write consumerId as UTF-8."
)
EVENT_KEY_MISMATCH = _entry(
    "EVENT-KEY-MISMATCH",
    _I,
    "The Kafka key differs from consumerId, so order per consumer cannot be kept.",
    "Have the producer use consumerId as the key, then publish the consumer's corrected event again.",
)
EVENT_KEY_ENCODED = _entry(
    "EVENT-KEY-ENCODED",
    _I,
    "A null value is to delete the consumer of its key, but the key looks like JSON, or begins with a byte order mark "
    "or the prefix of a schema registry: no consumer has such an ID.",
    "Have the producer write keys with a plain string serializer; publish the deletion again.",
)
EVENT_NOT_TEXT = _entry(
    "EVENT-NOT-TEXT",
    _I,
    "The value is not UTF-8 text.",
    "Look at the producer's encoding; publish the consumer's corrected event again.",
)
EVENT_NOT_JSON = _entry(
    "EVENT-NOT-JSON",
    _I,
    "The value is not a JSON object.",
    "Look at the producer; publish the consumer's corrected event again.",
)
EVENT_SCHEMA = _entry(
    "EVENT-SCHEMA",
    _I,
    "The value does not follow the event schema.",
    "Compare with consumer-profile-event.schema.json; publish the consumer's corrected event again.",
)
EVENT_MARKET_UNKNOWN = _entry(
    "EVENT-MARKET-UNKNOWN",
    _I,
    "CMT_DATA_EXTENSIONS lists markets, not the event's, and says nothing of others; or a null value is to delete a "
    "consumer whose market is not known.",
    "Add the market or a defaultMarket to CMT_DATA_EXTENSIONS and restart, or mend the event; then publish it again.",
)
EVENT_UNKNOWN_COLUMN = _entry(
    "EVENT-UNKNOWN-COLUMN",
    _I,
    "A row has a column that its data extension does not have.",
    "Add the column to the data extension and to CMT_DATA_EXTENSIONS, or mend the event; then publish it again.",
)
EVENT_COLUMN_TWICE = _entry(
    "EVENT-COLUMN-TWICE",
    _I,
    "A row gives a column twice, in two spellings. Marketing Cloud does not tell upper from lower case in names of "
    "columns, so it is not known which value counts.",
    "Mend the event at its source; publish the consumer's corrected event again.",
)
EVENT_MISSING_KEY_COLUMN = _entry(
    "EVENT-MISSING-KEY-COLUMN",
    _I,
    "A row lacks a primary-key column of its data extension.",
    "Mend the event at its source; publish the consumer's corrected event again.",
)
EVENT_FOREIGN_ROW = _entry(
    "EVENT-FOREIGN-ROW",
    _I,
    "A row names another consumer than the event.",
    "Mend the event at its source; publish the consumer's corrected event again.",
)
EVENT_TOO_LARGE = _entry(
    "EVENT-TOO-LARGE",
    _I,
    "Key, value and headers are larger than KAFKA_MAX_MESSAGE_BYTES when they are unpacked, or than the topic takes; "
    "the record was not parsed, and a dead letter that does not fit holds headers and the source position only.",
    "Read it from the source position; raise KAFKA_MAX_MESSAGE_BYTES and run `topics create`.",
)

# Marketing Cloud: tokens. Without one every call fails alike: events must wait, not become dead letters.
CMT_TOKEN_REFUSED = _entry(
    "CMT-TOKEN-REFUSED",
    _A,
    "The token endpoint refused the client ID and secret.",
    "Check CMT_CLIENT_ID, CMT_CLIENT_SECRET, CMT_ACCOUNT_ID and that the package is enabled.",
    every_call=True,
)
CMT_TOKEN_UNAVAILABLE = _entry(
    "CMT-TOKEN-UNAVAILABLE",
    _T,
    "The token endpoint did not answer or answered with an error.",
    "Wait; check CMT_AUTH_URL if it stays.",
    every_call=True,
)
CMT_TOKEN_THROTTLED = _entry(
    "CMT-TOKEN-THROTTLED",
    _TH,
    "The token endpoint asks for fewer requests.",
    "Wait; nothing else to do.",
    every_call=True,
)
CMT_TOKEN_MALFORMED = _entry(
    "CMT-TOKEN-MALFORMED",
    _T,
    "The token endpoint's answer is not a token.",
    "Check that CMT_AUTH_URL points at the tenant's authentication address.",
    every_call=True,
)
CMT_AUTH = _entry(
    "CMT-AUTH",
    _A,
    "Marketing Cloud refused a fresh token.",
    "Check the package's permissions and that the token is for the right account.",
    every_call=True,
)

# Marketing Cloud: the call as a whole
CMT_TIMEOUT = _entry(
    "CMT-TIMEOUT",
    _T,
    "No answer in time.",
    "Wait; the call is repeated.",
    transport=True,
)
CMT_CONNECTION = _entry(
    "CMT-CONNECTION",
    _T,
    "No connection, or it broke.",
    "Check the network, proxy and CMT_SOAP_URL if it stays.",
    transport=True,
)
CMT_CERTIFICATE = _entry(
    "CMT-CERTIFICATE",
    _T,
    "The certificate of Marketing Cloud, or of the proxy, is not trusted.",
    "CMT_CA_FILE adds the authority of a proxy that reads TLS; else check the address and the certificate's date.",
    transport=True,
)
CMT_UNAVAILABLE = _entry(
    "CMT-UNAVAILABLE", _T, "HTTP 5xx without a SOAP answer.", "Wait; look at the vendor's status page.", transport=True
)
CMT_HTTP_REFUSED = _entry(
    "CMT-HTTP-REFUSED",
    _P,
    "HTTP 400, 413 or the like without a SOAP answer: something on the way refuses this very request, or every one.",
    "In an outage: check CMT_SOAP_URL and the proxy. In a dead letter: look whether a firewall or proxy objects to the "
    "event's values; then publish the consumer's event again.",
    doubtful=True,
)
CMT_ENDPOINT = _entry(
    "CMT-ENDPOINT",
    _T,
    "A redirect, HTTP 403, 404, 405 or 407 without a SOAP answer: the address is not the SOAP endpoint.",
    "Check CMT_AUTH_URL, CMT_SOAP_URL and the proxy.",
    transport=True,
)
CMT_RATE_LIMITED = _entry(
    "CMT-RATE-LIMITED",
    _TH,
    "The account is throttled (fault 17, or HTTP 429).",
    "Lower CMT_RATE_PER_SECOND.",
    transport=True,
)
CMT_BLOCKED = _entry(
    "CMT-BLOCKED",
    _T,
    "Marketing Cloud has blocked the account (50200): no call gets through, and repeating it does not help.",
    "Ask the vendor's support what it takes; work resumes by itself when the block is lifted.",
    every_call=True,
)
CMT_PERMISSION = _entry(
    "CMT-PERMISSION",
    _P,
    "The account may not read or write this data extension.",
    "Give the installed package the right on the data extension that the message names; then publish the "
    "consumer's event again, or run `verify --repair` for events that ended as partial.",
)
CMT_NOT_ALLOWED = _entry(
    "CMT-NOT-ALLOWED",
    _A,
    "A right is missing without which an operation cannot be carried out at all.",
    "Give the installed package the right that the message names, on all data extensions; the events wait, and work "
    "resumes by itself.",
)
CMT_ADDRESS_REFUSED = _entry(
    "CMT-ADDRESS-REFUSED",
    _A,
    "Marketing Cloud takes no calls from this IP address: the account has an allow list.",
    "Add the address that the workers call from to the allow list (Setup, Security); work resumes by itself.",
    every_call=True,
)
CMT_MAINTENANCE = _entry(
    "CMT-MAINTENANCE", _T, "Marketing Cloud is under maintenance (fault 8, 9, 10).", "Wait.", transport=True
)
CMT_SERVER_FAULT = _entry(
    "CMT-SERVER-FAULT",
    _T,
    "Marketing Cloud reports a problem of its own (fault 1, 2, 13 ...).",
    "Wait.",
    transport=True,
)
CMT_CLIENT_FAULT = _entry(
    "CMT-CLIENT-FAULT",
    _P,
    "Marketing Cloud does not take the request (client fault): this one, or any.",
    "In an outage: check that the API user is active, and CMT_SOAP_URL. In a dead letter: check CMT_WSDL; report it "
    "with the masked message.",
    doubtful=True,
)
CMT_MALFORMED = _entry(
    "CMT-MALFORMED",
    _T,
    "The answer is not the SOAP message it should be (cut off, not XML, no results).",
    "Wait; look for a proxy that rewrites answers.",
    transport=True,
)
CMT_BUSY = _entry(
    "CMT-BUSY",
    _T,
    "Marketing Cloud could not do it at this time: its database was too slow, or it asks to try again later.",
    "Wait; lower SYNC_CONCURRENCY if it stays.",
)
CMT_RETRIEVE_FAILED = _entry(
    "CMT-RETRIEVE-FAILED",
    _T,
    "A Retrieve was answered with an error in OverallStatus that is not known here and may pass.",
    "Wait; if it stays, see the message.",
)
CMT_RETRIEVE_ERROR = _entry(
    "CMT-RETRIEVE-ERROR",
    _P,
    "A Retrieve was answered with an error in OverallStatus that does not pass.",
    "Check the data extension's key and columns in CMT_DATA_EXTENSIONS.",
)
CMT_RETRIEVE_EXPIRED = _entry(
    "CMT-RETRIEVE-EXPIRED",
    _T,
    "The next page of a Retrieve was asked for too late (unknown RequestID in ContinueRequest).",
    "Wait; the Retrieve starts over.",
)
CMT_FOREIGN_ROWS = _entry(
    "CMT-FOREIGN-ROWS",
    _P,
    "A Retrieve was answered with rows of other consumers; none of them was touched.",
    "Check that ConsumerId is a text column of the data extension and can be filtered; report it.",
)
CMT_CONSUMER_SPELLING = _entry(
    "CMT-CONSUMER-SPELLING",
    _P,
    "Rows are held under another spelling of the consumer's ID (upper or lower case, trailing blanks). Marketing Cloud "
    "takes both spellings for one consumer, so none of these rows was touched.",
    "Find out whose rows they are. One person: have the producer use one spelling, publish a DELETE of scope PROFILE "
    "under the other one, then publish its event again. Two persons: Marketing Cloud cannot hold both; give one "
    "another ID.",
)
CMT_NOT_XML_TEXT = _entry(
    "CMT-NOT-XML-TEXT",
    _P,
    "A value holds a character that XML cannot carry (control character, lone surrogate).",
    "Mend the value at its source; publish the consumer's corrected event again.",
)

# Marketing Cloud: one row of a call
CMT_ROW_INVALID = _entry(
    "CMT-ROW-INVALID",
    _P,
    "Marketing Cloud refused the row's values.",
    "See the message for the column; publish the consumer's corrected event again.",
)
CMT_ROW_MISSING_KEY = _entry(
    "CMT-ROW-MISSING-KEY", _P, "No or wrong primary key for the row.", "Check the primary key in CMT_DATA_EXTENSIONS."
)
CMT_DATA_EXTENSION = _entry(
    "CMT-DATA-EXTENSION",
    _P,
    "Marketing Cloud does not know the data extension (70003), or not with a primary key.",
    "Check customerKey in CMT_DATA_EXTENSIONS, and that the account (CMT_ACCOUNT_ID) sees the data extension.",
)
CMT_ROW_EXISTS = _entry(
    "CMT-ROW-EXISTS", _P, "The row exists already.", "Nothing to do for upserts; report it if it shows up."
)
CMT_ROW_NOT_FOUND = _entry(
    "CMT-ROW-NOT-FOUND", _P, "The row does not exist.", "Nothing to do for deletes, which tolerate it."
)
CMT_ROW_KEPT = _entry(
    "CMT-ROW-KEPT",
    _P,
    "A row is still there after its delete. Its key has a Date column: Marketing Cloud returns no fractions of a "
    "second, so the key that it returned is not the key of the row.",
    "Delete the row in Marketing Cloud, then publish the consumer's event again. Better: a text column as the key.",
)
CMT_ROW_CONTENTION = _entry(
    "CMT-ROW-CONTENTION", _T, "The row was locked or in a deadlock.", "Wait; lower SYNC_CONCURRENCY if it stays."
)
CMT_ROW_ABORTED = _entry(
    "CMT-ROW-ABORTED",
    _T,
    "The row was not worked on to its end (2, 13, 71000, 71001, 71006).",
    "Wait; lower CMT_BATCH_SIZE if it stays.",
)
CMT_ROW_ERROR = _entry(
    "CMT-ROW-ERROR", _P, "The row failed with a code that is not known here.", "See the message and code."
)

CMT_OUTAGE = _entry(
    "CMT-OUTAGE",
    _T,
    "An account of Marketing Cloud has not answered for a while: its circuit breaker is open and its events wait.",
    "The message names the cause: mend it if it is credentials or an address, else look at the vendor's status page. "
    "Nothing is lost and nothing has to be published again: work resumes by itself.",
)

# Our side
SYNC_BUG = _entry(
    "SYNC-BUG",
    _P,
    "The program hit an error of its own on this event.",
    "Report it with the worker's log; then publish the consumer's event again.",
)
SYNC_COPY_LOST = _entry(
    "SYNC-COPY-LOST",
    _P,
    "The event was parked, and its record is gone from the retry topic and from the main topic: it was deleted, by "
    "retention or by hand, before the event could be settled. The dead letter has no value.",
    "Have the producer send the consumer's current state; run `topics check`, which compares retention times.",
)
SYNC_SUPERSEDED = _entry(
    "SYNC-SUPERSEDED",
    _P,
    "A later event of the consumer has been written: this older one would overwrite it, so it was not sent.",
    "Nothing to do.",
)
SYNC_CUT_OFF = _entry(
    "SYNC-CUT-OFF",
    _P,
    "Kafka's retention deleted events of the main topic before they were read.",
    "Publish their consumers' state again from the database, and raise retention.ms of the main topic.",
)
SYNC_OPERATOR = _entry("SYNC-OPERATOR", _P, "Discarded by an operator.", "Nothing to do.")


def lookup(code: str) -> ErrorEntry:
    """The entry of a code.

    Raises:
        KeyError: the code is not registered.
    """
    return REGISTRY[code]
