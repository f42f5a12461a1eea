"""A real Apache Kafka: one node in KRaft mode on loopback, which can be stopped, killed, paused, and started again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.kafka.jars import class_path

KEEPER = Path(__file__).with_name("keeper.py")
CLUSTER = "Zmxvd2RzbC10ZXN0cy0xMA"
PATIENCE = 120.0
"""Seconds that a start may take; it takes three where nothing else runs."""

PROPERTIES = """
process.roles={roles}
node.id={node}
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port}{controls}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
advertised.listeners=PLAINTEXT://127.0.0.1:{advertised}
log.dirs={folder}/data
broker.session.timeout.ms={session}
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=500
offsets.topic.num.partitions=2
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=2
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.coordinator.rebalance.protocols=classic,consumer
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
"""
SECURED = """
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SASL_PLAINTEXT://127.0.0.1:{login},SSL://127.0.0.1:{tls}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{login},SSL://127.0.0.1:{tls}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL
ssl.keystore.type=PKCS12
ssl.keystore.location={folder}/keys.p12
ssl.keystore.password={password}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN,OAUTHBEARER
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_reader="{password}" user_writer="{password}" user_groupless="{password}" user_looker="{password}" user_elsewhere="{password}" user_nobody="{password}";
listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
  unsecuredLoginStringClaim_sub="broker";
listener.name.sasl_plaintext.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler
"""
"""A second listener, where people log in and need rights, and a third with TLS. On these everybody may do everything who
did not log in.
"""
PASSWORD = "correct-horse"  # noqa: S105  # of a server on loopback that lives as long as its tests

# In the KIP-848 protocol the broker says how long a session is; six seconds are those of the classic tests too.


class KafkaServer:
    """One broker with a folder of its own. Ends with the process ``owner``, however that ends.

    ``fast_start`` spares the optimising compiler: less work for the machine, and a third slower under load. ``secured``:
    it has listeners of its own for people who log in, and for TLS. ``joins``: the first broker of a cluster that this one
    is the ``node``-th of. ``replicas``: how many of them keep what is committed. ``advertised``: the port that it tells
    clients, where that is not its own. ``session``: seconds without a word from it until the cluster counts it as gone.
    """

    def __init__(
        self,
        *,
        owner: int | None = None,
        fast_start: bool = True,
        secured: bool = False,
        joins: KafkaServer | None = None,
        node: int = 1,
        replicas: int = 1,
        advertised: int | None = None,
        session: float = 2.0,
    ) -> None:
        self._owner = owner or os.getpid()
        self._jit = ["-XX:TieredStopAtLevel=1"] if fast_start else []
        self._folder = Path(tempfile.mkdtemp(prefix="flowdsl-kafka-"))
        self._keeper: subprocess.Popen[str] | None = None
        self._pid = 0
        self._reserved = reserved(4)
        self.port, self._controller, login, self.tls_port = map(port_of, self._reserved)
        self._node = node
        controls = f",CONTROLLER://127.0.0.1:{self._controller}"
        roles = "broker,controller"
        if joins is not None:
            self._controller, controls, roles = joins._controller, "", "broker"
        self.login_address, self.tls_address = f"127.0.0.1:{login}", f"127.0.0.1:{self.tls_port}"
        text = PROPERTIES + SECURED if secured else PROPERTIES
        ports = {
            "port": self.port,
            "advertised": advertised or self.port,
            "controller": self._controller,
            "login": login,
            "tls": self.tls_port,
        }
        place = {
            "roles": roles,
            "node": node,
            "controls": controls,
            "replicas": replicas,
            "session": int(1000 * session),
        }
        self._properties = self._folder / "server.properties"
        self._properties.write_text(text.format(**ports, **place, folder=self._folder, password=PASSWORD))
        if secured:
            make_certificate(self._folder / "keys.p12")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Start it, and return once it answers as one of its cluster. Raises RuntimeError with the end of its log."""
        if not (self._folder / "data").exists():
            self._run("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._properties)).wait(PATIENCE)
        self._keeper = self._run("kafka.Kafka", str(self._properties))
        end = time.monotonic() + PATIENCE
        while not self._answers():
            if self._keeper.poll() is not None or time.monotonic() > end:
                log = (self._folder / "server.log").read_text()[-4000:]
                self.kill()
                msg = f"Kafka did not start: {log}"
                raise RuntimeError(msg)
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End it in order, as by an operator."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as by a power cut."""
        self._end(signal.SIGKILL)

    def lose(self, topic: str) -> None:
        """What was written to the first partition of this topic is gone when it is started again: its disk broke."""
        shutil.rmtree(self._folder / "data" / f"{topic}-0")

    def pause(self) -> None:
        """Let it hang: connections stay, nothing is answered. Returns once the last of its threads stands still."""
        os.kill(self._pid, signal.SIGSTOP)
        end = time.monotonic() + PATIENCE
        while not all(map(stands_still, Path(f"/proc/{self._pid}/task").glob("*/stat"))) and time.monotonic() < end:
            time.sleep(0.01)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def remove(self) -> None:
        """End it for good, and leave nothing behind."""
        self.kill()
        for each in self._reserved:
            each.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, main: str, *arguments: str) -> subprocess.Popen[str]:
        java = ["java", "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto", *self._jit, "-cp", class_path()]
        command = [sys.executable, str(KEEPER), str(self._owner), str(self._folder), *java, main, *arguments]
        with (self._folder / "server.log").open("a") as log:
            keeper = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
        assert keeper.stdout is not None
        self._pid = int(keeper.stdout.readline() or 0)
        keeper.stdout.close()
        return keeper

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            return (
                self._node
                in AdminClient({"bootstrap.servers": self.address, "log_level": 0}).list_topics(timeout=5.0).brokers
            )
        except (OSError, KafkaException):
            return False

    def _end(self, how: signal.Signals) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if keeper.poll() is None:
                os.kill(self._pid, how)
                os.kill(self._pid, signal.SIGCONT)  # one that is paused hears of it too
        try:
            keeper.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.kill(self._pid, signal.SIGKILL)
            keeper.wait()


OUTAGES = (
    (KafkaServer.kill, KafkaServer.start),
    (KafkaServer.stop, KafkaServer.start),
    (KafkaServer.pause, KafkaServer.resume),
)
"""How a broker goes away, and comes back."""


def stands_still(stat: Path) -> bool:
    """Whether this thread of a process that was sent SIGSTOP has heard of it, or is gone; on a busy machine that takes a while."""
    with contextlib.suppress(OSError):
        return stat.read_text().rpartition(")")[2].split()[0] in "TXZ"
    return True


def make_certificate(keys: Path) -> None:
    """A key and a certificate that nobody signed but itself."""
    owner = ("-dname", "CN=127.0.0.1", "-ext", "SAN=ip:127.0.0.1", "-validity", "30")
    kept = ("-alias", "kafka", "-keyalg", "RSA", "-storetype", "PKCS12", "-keystore", str(keys), "-storepass", PASSWORD)
    subprocess.run(["keytool", "-genkeypair", *owner, *kept], check=True, capture_output=True)  # noqa: S607  # wherever Java is


def reserved(count: int) -> list[socket.socket]:
    """Sockets with ports of their own, below those that the kernel gives to clients: a broker must find its own again.

    As long as they are open nobody else is given these ports, and who knows them can listen there all the same, with
    SO_REUSEADDR, as Java and asyncio do.
    """
    found: list[socket.socket] = []
    while len(found) < count:
        taken = socket.socket()
        try:
            taken.bind(("127.0.0.1", random.randint(15_000, 32_000)))  # noqa: S311  # no secret
        except OSError:
            taken.close()
            continue
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.append(taken)
    return found


def port_of(taken: socket.socket) -> int:
    port: int = taken.getsockname()[1]
    return port


def unique(name: str = "t") -> str:
    """A name for a topic or a group that no other test has."""
    return f"{name}-{uuid4().hex[:12]}"
