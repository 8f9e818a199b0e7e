"""The texts and the fingerprints of incidents about an account. Pure."""

from __future__ import annotations

from app.delivery.alert import ACCOUNT_ENTITY
from app.delivery.counts import EVENT_ENTITY
from app.delivery.errors import CMT_NOT_ALLOWED, CMT_RATE_LIMITED, ErrorEntry
from app.profile.entities import OWN_ACCOUNT


def outage_entity(account: str) -> str:
    """The entity of an outage. It is part of the fingerprint, so that each account has an incident of its own."""
    return EVENT_ENTITY if account == OWN_ACCOUNT else f"{ACCOUNT_ENTITY}{account}"


def right_entity(account: str, entity: str) -> str:
    """The entity of an incident about a right that is missing at one data extension; each account has its own."""
    return entity if account == OWN_ACCOUNT else f"{ACCOUNT_ENTITY}{account}-{entity}"


def outage_message(account: str, trouble: ErrorEntry | None) -> str:
    """What is wrong with an account, and whether a person has to act."""
    said = f"{trouble.code}: {trouble.meaning} {trouble.remedy}" if trouble else "No answers."
    waits = "Its events wait, no attempt is used up"
    if trouble is not None and trouble.refuses_us:
        return f"account {account}: {said} {waits}; work resumes when this is corrected."
    return f"account {account}: {said} {waits}; work resumes by itself."


def blocked_message(account: str, missing: str) -> str:
    """What is missing, and what follows."""
    return (
        f"account {account}: {CMT_NOT_ALLOWED.code}: it {missing}. The events that need this wait, no attempt is used "
        f"up; others go on as long as no more than SYNC_MAX_PARKED events wait. {CMT_NOT_ALLOWED.remedy}"
    )


def throttling_message(account: str, waiting: int) -> str:
    """What throttling means, and what can be done about it."""
    said = f"{CMT_RATE_LIMITED.code}: {CMT_RATE_LIMITED.meaning} {waiting} events are waiting to send their calls again"
    return (
        f"account {account}: {said}, no attempt is used up. If it stays, lower CMT_RATE_PER_SECOND or "
        "SYNC_CONCURRENCY, or look who else calls this account."
    )
