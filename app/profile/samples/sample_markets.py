"""The names, languages and telephone numbers of sample consumers, by market. All of them are invented.

Telephone numbers are in ranges that regulators reserve for fiction (Bundesnetzagentur, Arcep, Ofcom, and the North
American 555-01xx); markets without such a range have none.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SampleMarket:
    """One market. ``latin``: how letters are spelled in e-mail addresses, if Unicode normalisation does not do it."""

    code: str
    weight: int
    languages: tuple[str, ...]
    female: tuple[str, ...]
    male: tuple[str, ...]
    last: tuple[str, ...]
    phone: str | None = None  # '#' = a digit
    latin: tuple[tuple[str, str], ...] = ()


MARKETS: tuple[SampleMarket, ...] = (
    SampleMarket(
        "DE",
        24,
        ("de", "de", "de", "tr"),
        ("Anna", "Lena", "Jana", "Katharina", "Sabine", "Elif", "Zoë"),
        ("Jonas", "Lukas", "Jürgen", "Björn", "Felix", "Emre", "Matthias"),
        ("Müller", "Schäfer", "Weiß", "Krüger", "Vogel", "Yılmaz", "Lindner", "Groß"),
        phone="+493023125###",
        latin=(("ü", "ue"), ("ä", "ae"), ("ö", "oe")),
    ),
    SampleMarket(
        "FR",
        16,
        ("fr",),
        ("Camille", "Chloé", "Maëlle", "Inès", "Françoise", "Manon"),
        ("Hugo", "Théo", "Loïc", "Rémi", "François", "Yanis"),
        ("Lefèvre", "Moreau", "Garnier", "D'Aubigny", "Benoît", "Marchand", "Le Goff"),
        phone="+3319900####",
    ),
    SampleMarket(
        "GB",
        16,
        ("en",),
        ("Olivia", "Amelia", "Siân", "Priya", "Charlotte", "Niamh"),
        ("Oliver", "Harry", "Callum", "Arjun", "Rhys", "Theo"),
        ("O'Brien", "Whitaker", "Patel", "Macdonald", "Ashworth", "Lloyd-Jones", "Reeve"),
        phone="+44207946####",
    ),
    SampleMarket(
        "IT",
        10,
        ("it",),
        ("Giulia", "Chiara", "Niccolina", "Aurora", "Beatrice"),
        ("Lorenzo", "Matteo", "Niccolò", "Alessandro", "Davide"),
        ("Rossetti", "D'Angelo", "De Luca", "Ferrari", "Nicolò", "Conti"),
    ),
    SampleMarket(
        "ES",
        10,
        ("es", "es", "ca"),
        ("Lucía", "María", "Núria", "Begoña", "Inés"),
        ("Álvaro", "Íñigo", "Pablo", "Jordi", "Martín"),
        ("García López", "Núñez", "Ibáñez", "Muñoz Peña", "Serrano", "Vidal"),
    ),
    SampleMarket(
        "PL",
        8,
        ("pl",),
        ("Zofia", "Małgorzata", "Agnieszka", "Świętosława", "Julia"),
        ("Łukasz", "Wojciech", "Michał", "Paweł", "Jan"),
        ("Wiśniewski", "Dąbrowski", "Zieliński", "Wójcik", "Kaźmierczak"),
    ),
    SampleMarket(
        "US",
        12,
        ("en", "en", "es"),
        ("Emma", "Sofia", "Madison", "Aaliyah", "Hannah"),
        ("Liam", "Ethan", "Diego", "Jamal", "Noah"),
        ("Johnson", "Ramirez", "Nguyen", "O'Neill", "Walker", "St. John"),
        phone="+120255501##",
    ),
    SampleMarket(
        "JP",
        4,
        ("ja",),
        ("美咲", "陽菜", "さくら", "葵"),
        ("大翔", "蓮", "翔太", "健一"),
        ("佐藤", "鈴木", "高橋", "渡辺"),
        latin=(
            ("美咲", "misaki"),
            ("陽菜", "hina"),
            ("さくら", "sakura"),
            ("葵", "aoi"),
            ("大翔", "hiroto"),
            ("蓮", "ren"),
            ("翔太", "shota"),
            ("健一", "kenichi"),
            ("佐藤", "sato"),
            ("鈴木", "suzuki"),
            ("高橋", "takahashi"),
            ("渡辺", "watanabe"),
        ),
    ),
)

# Letters that Unicode normalisation does not take apart.
LATIN = (("ß", "ss"), ("ł", "l"), ("ı", "i"), ("ø", "o"))

# RFC 2606: nobody's mailbox.
MAIL_DOMAINS = ("example.com", "example.org", "example.net")

PETS: dict[str, tuple[str | None, ...]] = {
    "DOG": ("Labrador", "Dackel", "Border Collie", "Mixed", None),
    "CAT": ("European Shorthair", "Maine Coon", "Siamese", None),
    "RABBIT": ("Dwarf", None),
    "BIRD": ("Budgerigar", None),
}
PET_WEIGHTS: dict[str, tuple[float, float]] = {
    "DOG": (3.0, 45.0),
    "CAT": (2.5, 8.0),
    "RABBIT": (1.0, 3.0),
    "BIRD": (0.1, 0.5),
}
PET_NAMES = ("Bello", "Luna", "Minou", "Rocky", "Nala", "Simba", "Pépita", "Mochi", "Fritz", "Coco & Co", "Whiskers")

INTERESTS = ("NUTRITION", "PREGNANCY", "BABY_CARE", "RECIPES", "PET_CARE", "SUSTAINABILITY", "FITNESS", "TRAVEL")
BRANDS = ("Little Steps", "Paws & Co", "Green Kitchen", "Daily Glow")
OPT_IN_SOURCES = ("WEB", "APP", "STORE", "CALL_CENTRE")
