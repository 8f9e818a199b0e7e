"""All configuration, read once from the environment.

There is one class per target, so that a command needs only the settings that it uses. Names and defaults are part of
the public surface. The texts under the fields make up the page docs/configuration.md.
"""

from app.settings.cmt import CmtSettings, DataExtensionSettings
from app.settings.general import GeneralSettings
from app.settings.group import SettingsGroup, options_of
from app.settings.kafka import HEADER_ROOM_BYTES, KafkaSettings, parse_servers
from app.settings.loading import ConfigurationError, WorkerSettings, known_variables, load, variable, warnings
from app.settings.servicenow import ServiceNowSettings
from app.settings.sync import SyncSettings
from app.settings.values import is_loopback
from app.settings.web import TokenSettings, WebSettings

__all__ = [
    "HEADER_ROOM_BYTES",
    "CmtSettings",
    "ConfigurationError",
    "DataExtensionSettings",
    "GeneralSettings",
    "KafkaSettings",
    "ServiceNowSettings",
    "SettingsGroup",
    "SyncSettings",
    "TokenSettings",
    "WebSettings",
    "WorkerSettings",
    "is_loopback",
    "known_variables",
    "load",
    "options_of",
    "parse_servers",
    "variable",
    "warnings",
]
