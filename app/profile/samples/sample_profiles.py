"""An invented consumer: how it is created, changed and deleted, and the values of its rows. Pure, given ``rng``."""

from __future__ import annotations

import random
import re
import unicodedata
import uuid
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from app.profile.entities import CHILD_TYPES, EntityType, Scalar
from app.profile.samples.sample_markets import (
    BRANDS,
    INTERESTS,
    LATIN,
    MAIL_DOMAINS,
    OPT_IN_SOURCES,
    PET_NAMES,
    PET_WEIGHTS,
    PETS,
    SampleMarket,
)

MutableRow = dict[str, Scalar]

ROW_ID: dict[EntityType, str] = {
    EntityType.CONTACT: "ContactId",
    EntityType.CHILD: "ChildId",
    EntityType.PET: "PetId",
    EntityType.DIGITAL_ASSET: "AssetId",
    EntityType.INTEREST: "InterestId",
    EntityType.OPT_IN: "OptInId",
}

# The number of rows of a type that a consumer starts with is drawn from these: most have no child, few have four.
_AT_FIRST: dict[EntityType, tuple[int, ...]] = {
    EntityType.CONTACT: (1, 1, 2),
    EntityType.CHILD: (0, 0, 0, 1, 1, 2, 2, 3, 4),
    EntityType.PET: (0, 0, 0, 1, 1, 2),
    EntityType.DIGITAL_ASSET: (0, 1, 1, 2),
    EntityType.INTEREST: (0, 1, 2, 3),
    EntityType.OPT_IN: (1, 1, 2, 3),
}
MOST_ROWS = 4


@dataclass(slots=True)
class SampleConsumer:
    """One consumer and its current rows. After ``vanish`` it may ``appear`` again, with new row IDs."""

    consumer_id: str
    market: SampleMarket
    number: int
    exists: bool = False
    parent: MutableRow = field(default_factory=dict)
    rows: dict[EntityType, list[MutableRow]] = field(default_factory=dict)
    # A row ID is never used again, not even after its row or profile was deleted.
    last_ids: dict[EntityType, int] = field(default_factory=dict)

    def appear(self, rng: random.Random, now: datetime) -> None:
        """Create the profile with its first rows."""
        market = self.market
        gender = rng.choice(("F", "F", "M", "M", None))
        names = market.male if gender == "M" else market.female if gender == "F" else market.female + market.male
        self.exists = True
        self.parent = {
            "ConsumerId": self.consumer_id,
            "EmailAddress": None,
            "FirstName": rng.choice(names),
            "LastName": rng.choice(market.last),
            "BirthDate": _day(rng, now.date(), years=(18, 70)),
            "Gender": gender,
            "Country": market.code,
            "Language": rng.choice(market.languages),
            "Market": market.code,
            "CreatedAt": time_text(now),
            "UpdatedAt": time_text(now),
        }
        self.parent["EmailAddress"] = self._mail(rng, self.number)
        self.rows = {}
        for entity, numbers in _AT_FIRST.items():
            for _ in range(rng.choice(numbers)):
                self._add(rng, entity, now)

    def vanish(self) -> None:
        """Delete the profile and all its rows."""
        self.exists, self.parent, self.rows = False, {}, {}

    def change(self, rng: random.Random, now: datetime) -> None:
        """Change one or two things, as a visit to a profile page would."""
        self.parent["UpdatedAt"] = time_text(now)
        for _ in range(rng.randint(1, 2)):
            held = [entity for entity in CHILD_TYPES if self.rows.get(entity)]
            match rng.choice(("parent", "add", "change", "remove")):
                case "add":
                    self._add(rng, rng.choice(CHILD_TYPES), now)
                case "change" if held:
                    rows = self.rows[entity := rng.choice(held)]
                    index = rng.randrange(len(rows))
                    rows[index] = self._row(rng, entity, str(rows[index][ROW_ID[entity]]), now)
                case "remove" if held:
                    rows = self.rows[rng.choice(held)]
                    del rows[rng.randrange(len(rows))]
                case _:
                    self._change_parent(rng)

    def remove_some(self, rng: random.Random) -> dict[EntityType, list[MutableRow]]:
        """Delete one to three rows. Returns their IDs; empty if there are no rows."""
        held = [(entity, row) for entity, rows in self.rows.items() for row in rows]
        removed: dict[EntityType, list[MutableRow]] = {}
        for entity, row in rng.sample(held, k=min(len(held), rng.randint(1, 3))):
            self.rows[entity].remove(row)
            removed.setdefault(entity, []).append({ROW_ID[entity]: row[ROW_ID[entity]]})
        return removed

    def _change_parent(self, rng: random.Random) -> None:
        if rng.random() < 0.5:
            self.parent["LastName"] = rng.choice(self.market.last)
            return
        self.parent["EmailAddress"] = self._mail(rng, rng.randrange(10_000, 100_000))
        for contact in self.rows.get(EntityType.CONTACT, []):
            if contact["IsPrimary"]:
                contact["Value"] = self.parent["EmailAddress"]

    def _add(self, rng: random.Random, entity: EntityType, now: datetime) -> None:
        rows = self.rows.setdefault(entity, [])
        if len(rows) < MOST_ROWS:
            number = self.last_ids[entity] = self.last_ids.get(entity, 0) + 1
            rows.append(self._row(rng, entity, f"{entity.value}-{number}", now))

    def _row(self, rng: random.Random, entity: EntityType, row_id: str, now: datetime) -> MutableRow:
        values: MutableRow
        match entity:
            case EntityType.CONTACT:
                values = self._contact(rng, row_id)
            case EntityType.CHILD:
                values = self._child(rng, now)
            case EntityType.PET:
                values = _pet(rng, now)
            case EntityType.DIGITAL_ASSET:
                values = {"Type": rng.choice(("COOKIE", "MOBILE_AD_ID", "APP_INSTALLATION")), "Value": uuid_text(rng)}
            case EntityType.INTEREST:
                values = {"Code": rng.choice(INTERESTS), "Score": rng.randint(0, 100)}
            case _:
                values = {
                    "Channel": rng.choice(("EMAIL", "EMAIL", "SMS", "POST", "PUSH")),
                    "Brand": rng.choice(BRANDS),
                    "Purpose": rng.choice(("NEWSLETTER", "OFFERS", "SURVEYS")),
                    "Status": rng.choice(("OPT_IN", "OPT_IN", "OPT_IN", "OPT_OUT")),
                    "CapturedAt": time_text(now),
                    "Source": rng.choice(OPT_IN_SOURCES),
                }
        return {ROW_ID[entity]: row_id, **values}

    def _contact(self, rng: random.Random, row_id: str) -> MutableRow:
        others = [contact for contact in self.rows[EntityType.CONTACT] if contact["ContactId"] != row_id]
        if not any(contact["IsPrimary"] for contact in others):
            return {"Type": "EMAIL", "Value": self.parent["EmailAddress"], "IsPrimary": True}
        if self.market.phone:
            number = re.sub("#", lambda _: str(rng.randrange(10)), self.market.phone)
            return {"Type": "PHONE", "Value": number, "IsPrimary": False}
        return {"Type": "EMAIL", "Value": self._mail(rng, rng.randrange(10_000, 100_000)), "IsPrimary": False}

    def _child(self, rng: random.Random, now: datetime) -> MutableRow:
        if rng.random() < 0.15:
            due = (now.date() + timedelta(days=rng.randint(10, 250))).isoformat()
            return {"FirstName": None, "BirthDate": None, "DueDate": due, "Gender": None}
        gender = rng.choice(("F", "M"))
        names = self.market.female if gender == "F" else self.market.male
        return {"FirstName": rng.choice(names), "BirthDate": _day(rng, now.date(), years=(0, 12)), "Gender": gender}

    def _mail(self, rng: random.Random, number: int) -> str:
        first, last = (self._latin(str(self.parent[column])) for column in ("FirstName", "LastName"))
        return f"{first}.{last}.{number}@{rng.choice(MAIL_DOMAINS)}"

    def _latin(self, name: str) -> str:
        name = name.lower()
        for written, spelled in (*self.market.latin, *LATIN):
            name = name.replace(written, spelled)
        return re.sub(r"[^a-z]", "", unicodedata.normalize("NFKD", name))


def _pet(rng: random.Random, now: datetime) -> MutableRow:
    species = rng.choice(tuple(PETS))
    return {
        "Name": rng.choice(PET_NAMES),
        "Species": species,
        "Breed": rng.choice(PETS[species]),
        "BirthDate": _day(rng, now.date(), years=(0, 14)),
        "WeightKg": Decimal(f"{rng.uniform(*PET_WEIGHTS[species]):.1f}"),
    }


def _day(rng: random.Random, today: date, years: tuple[int, int]) -> str:
    return (today - timedelta(days=rng.randint(years[0] * 365 + 20, years[1] * 365))).isoformat()


def time_text(moment: datetime) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def uuid_text(rng: random.Random) -> str:
    """A version 4 UUID drawn from ``rng``."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))
