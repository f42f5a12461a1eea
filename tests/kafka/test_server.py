"""The Kafka of the tests can be stopped, killed and paused, keeps its records, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its documented place

from tests.kafka.helpers import wait_for
from tests.kafka.server import KafkaServer, unique

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def topics(address: str, timeout: float = 60.0) -> set[str]:
    """The topics of a broker that was reached over a new connection."""
    return set(AdminClient({"bootstrap.servers": address}).list_topics(timeout=timeout).topics)


def make(address: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(30)


def test_shared_kafka_answers(kafka_address: str) -> None:
    name = unique()
    make(kafka_address, name)
    wait_for(lambda: name in topics(kafka_address))  # the controller has it before the broker does


def test_broker_keeps_its_topics_when_it_is_stopped_killed_and_paused(own_kafka: KafkaServer) -> None:
    name = unique()
    make(own_kafka.address, name)
    own_kafka.stop()
    with pytest.raises(KafkaException):
        topics(own_kafka.address, timeout=1.0)
    own_kafka.start()
    wait_for(lambda: name in topics(own_kafka.address))
    own_kafka.kill()
    own_kafka.start()
    wait_for(lambda: name in topics(own_kafka.address))
    own_kafka.pause()
    with pytest.raises(KafkaException):
        topics(own_kafka.address, timeout=1.0)
    own_kafka.resume()
    wait_for(lambda: name in topics(own_kafka.address))


def test_broker_ends_with_its_owner_even_if_that_is_killed_while_the_broker_hangs() -> None:
    program = (
        "from tests.kafka.server import KafkaServer\n"
        "server = KafkaServer().start()\n"
        "server.pause()\n"
        "print(server._pid, server._folder, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        os.kill(int(pid), 0)
        owner.send_signal(signal.SIGKILL)
    wait_for(lambda: not Path(folder).exists())
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_tests_on_kafka_are_skipped_aloud_where_java_and_maven_lack(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    environment = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "base")]
    one = "tests/kafka/test_server.py::test_shared_kafka_answers"
    done = subprocess.run(
        [*command, one], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 skipped" in done.stdout
    assert "no Kafka here: java and mvn not found. Install Java 17 and Maven, or set FLOWDSL_TEST_KAFKA" in done.stdout
