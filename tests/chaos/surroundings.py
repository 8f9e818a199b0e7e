"""Blows at the surroundings of the processes: rights, offsets, disks and networks are taken away and given back.

Everything runs in a network namespace of its own, and data folders lie on small disks of their own: root only.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.chaos.schedule import SLOTS, Blow
from tests.support.deployment import Deployment
from tests.support.private_network import PrivateNetwork
from tests.support.worker_process import wait_for

WITHIN_SECONDS = 30.0
DISK_MEGABYTES = 64
# A resource that no rule names is open to all users.
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
_MARK = "TORTURE_APART"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@dataclass
class Surroundings:
    """``take`` takes something away, ``give`` gives it back. ``disks``: one for each slot."""

    deployment: Deployment
    disks: Path
    _taken: set[Blow] = field(default_factory=set)
    # Of the brokers, whose packets are dropped now.
    _dropped: list[int] = field(default_factory=list)
    _network: PrivateNetwork = field(default_factory=PrivateNetwork)
    _client: AdminClient | None = field(default=None, repr=False)
    _last_refusal: str = ""

    def take(self, what: Blow, broker: int | None = None) -> None:
        """``broker``: the only one that it concerns, by ID from 1; None: all."""
        self._taken.add(what)
        self._acts(broker)[what][0]()

    def give(self, what: Blow) -> None:
        if what in self._taken:
            self._taken.discard(what)
            self._acts(None)[what][1]()

    def give_all(self) -> None:
        for what in list(self._taken):
            self.give(what)

    def _acts(self, broker: int | None) -> dict[Blow, tuple[Callable[[], None], Callable[[], None]]]:
        pipeline = self.deployment.pipeline
        cmt = int(self.deployment.simulator.url.rpartition(":")[2])
        drop, allow = self._network.drop, self._network.pass_all
        return {
            Blow.NO_READ: (lambda: self._deny(pipeline.topic, AclOperation.READ), lambda: self._allow(pipeline.topic)),
            Blow.NO_LETTERS: (
                lambda: self._deny(pipeline.dlq_topic, AclOperation.WRITE),
                lambda: self._allow(pipeline.dlq_topic),
            ),
            Blow.NO_OFFSETS: (self._delete_offsets, lambda: None),
            Blow.DISK_FULL: (self._fill, self._free),
            Blow.CMT_DROPPED: (lambda: drop(cmt), lambda: allow(cmt)),
            Blow.KAFKA_DROPPED: (lambda: self._drop_brokers(broker), self._pass_brokers),
        }

    def _drop_brokers(self, only: int | None) -> None:
        servers = self.deployment.kafka.bootstrap_servers.split(",")
        for number, server in enumerate(servers, 1):
            if only in (None, number):
                self._dropped.append(int(server.rpartition(":")[2]))
                self._network.drop(self._dropped[-1])

    def _pass_brokers(self) -> None:
        while self._dropped:
            self._network.pass_all(self._dropped.pop())

    def _admin(self) -> AdminClient:
        # One that is kept: the answers of a client that is gone never come.
        if self._client is None:
            # Of several brokers one may have been silent just now.
            servers = self.deployment.kafka.bootstrap_servers
            self._client = AdminClient({"bootstrap.servers": servers, "socket.timeout.ms": 5000})
        return self._client

    def _deny(self, topic: str, operation: AclOperation) -> None:
        rules = [
            _rule(topic, operation, AclPermissionType.DENY),
            # A topic that a rule names is closed to all whom no rule allows.
            _rule(topic, AclOperation.ALL, AclPermissionType.ALLOW),
        ]
        for answer in self._admin().create_acls(rules).values():
            answer.result(WITHIN_SECONDS)

    def _allow(self, topic: str) -> None:
        every = AclBindingFilter(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            None,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )
        for answer in self._admin().delete_acls([every]).values():
            answer.result(WITHIN_SECONDS)

    def _delete_offsets(self) -> None:
        """Delete the group's offsets, once the broker has noticed that all members are gone."""
        group = self.deployment.pipeline.group

        def gone() -> bool:
            try:
                self._admin().delete_consumer_groups([group])[group].result(WITHIN_SECONDS)
            except KafkaException as error:  # the group still has a member
                self._last_refusal = str(error)
                return error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND
            return True

        wait_for(gone, lambda: f"the group is empty: {self._last_refusal}", WITHIN_SECONDS)

    def _fill(self) -> None:
        for slot in range(SLOTS):
            with suppress(OSError), (_disk(self.disks, slot) / "filling").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(65536))

    def _free(self) -> None:
        for slot in range(SLOTS):
            (_disk(self.disks, slot) / "filling").unlink(missing_ok=True)


def mounted_disks(folder: Path) -> None:
    """A small disk for the data of each worker. The mounts end with their namespace, if not before."""
    for slot in range(SLOTS):
        disk = _disk(folder, slot)
        disk.mkdir(parents=True)
        size = f"size={DISK_MEGABYTES}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(disk)], check=True, capture_output=True)


def unmount_disks(folder: Path) -> None:
    """So that the folder can be removed."""
    for slot in range(SLOTS):
        subprocess.run(["umount", str(_disk(folder, slot))], check=False, capture_output=True)


def apart(command: list[str]) -> list[str]:
    """The command in namespaces of its own: network and mounts."""
    return ["env", f"{_MARK}=1", "unshare", "--net", "--mount", *command]


def is_apart() -> bool:
    """Whether this process was started so."""
    return _MARK in os.environ


def _disk(folder: Path, slot: int) -> Path:
    """Where ``Deployment.worker`` puts the data of this worker."""
    return folder / f"data-{slot}"


def _rule(topic: str, operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    return AclBinding(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation, permission
    )
