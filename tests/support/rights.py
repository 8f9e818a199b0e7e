"""A broker that checks rights, and a user whose rights change. A client without a login may do anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from app.broker.broker_config import SecureListener
from app.broker.local_broker import LocalBroker
from tests.support.brokers import own_broker

USER, PASSWORD = "sync", "correct-horse-battery"
WITHIN_SECONDS = 20.0

# A resource that no rule names is open to all users.
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "allow.everyone.if.no.acl.found": "true",
}


def pkcs8_keystore(leaf: trustme.LeafCert, path: Path) -> Path:
    """Key and certificates in one PEM file, as Kafka reads them (PKCS #8 only)."""
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return path


@dataclass
class GuardedBroker:
    """``deny`` and ``permit`` change the user's rights; both return when the change is in effect."""

    broker: LocalBroker
    ca_file: Path
    _admin: AdminClient | None = field(default=None, repr=False)

    @property
    def bootstrap_servers(self) -> str:
        """The address for the test itself, with all rights."""
        return self.broker.bootstrap_servers

    def login(self) -> dict[str, str]:
        """The variables with which a worker logs in as the user."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.broker.secure_bootstrap_servers("LOGIN"),
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": USER,
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CAFILE": str(self.ca_file),
        }

    def deny(self, name: str, *operations: AclOperation, kind: ResourceType = ResourceType.TOPIC) -> None:
        """Remove these rights on a topic (or group); without ``operations``, all rights."""
        rules = [_rule(kind, name, operation, AclPermissionType.DENY) for operation in operations]
        # Once a rule names a resource, only named users may use it.
        allowed = "User:nobody" if not operations else f"User:{USER}"
        rules.append(_rule(kind, name, AclOperation.ALL, AclPermissionType.ALLOW, allowed))
        for answer in self._client().create_acls(rules).values():
            answer.result(WITHIN_SECONDS)

    def permit(self, name: str, *, kind: ResourceType = ResourceType.TOPIC) -> None:
        """Give all rights back."""
        every = AclBindingFilter(
            kind, name, ResourcePatternType.LITERAL, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        for answer in self._client().delete_acls([every]).values():
            answer.result(WITHIN_SECONDS)

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        return self._admin


def _rule(
    kind: ResourceType, name: str, operation: AclOperation, permission: AclPermissionType, who: str = f"User:{USER}"
) -> AclBinding:
    return AclBinding(kind, name, ResourcePatternType.LITERAL, who, "*", operation, permission)


@contextmanager
def guarded_broker(folder: Path) -> Iterator[GuardedBroker]:
    """The broker, running for the length of a ``with`` block. ``folder``: for its certificates."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    keystore = pkcs8_keystore(authority.issue_cert("localhost"), folder / "broker.pem")
    login = SecureListener("LOGIN", "SASL_SSL", keystore, users={USER: PASSWORD})
    with own_broker(LocalBroker(secure=[login], extra_config=AUTHORIZER)) as broker:
        yield GuardedBroker(broker, folder / "ca.pem")
