"""profile-sync: keeps Salesforce Marketing Cloud true to a consumer database."""

__version__ = "0.1.0"
