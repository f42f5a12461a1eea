"""Logging in, and what those are told who may not do what they want to: soon, what, and what to do about it."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # their documented place, for these names
    AclBinding,  # pyright: ignore[reportPrivateImportUsage]  # as above
    AclOperation,  # pyright: ignore[reportPrivateImportUsage]  # as above
    AclPermissionType,  # pyright: ignore[reportPrivateImportUsage]  # as above
    AdminClient,
    ResourcePatternType,  # pyright: ignore[reportPrivateImportUsage]  # as above
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]  # as above
)

from flowdsl import BrokerUnreachable, FlowError, Kafka, NotAuthorized, from_iterable, to_list
from tests.kafka.fixtures import needs_kafka
from tests.kafka.helpers import fill
from tests.kafka.server import PASSWORD, KafkaServer
from tests.kafka.test_starting import soon

pytestmark = pytest.mark.slow

TOPIC, GROUP = ResourceType.TOPIC, ResourceType.GROUP
READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
ELSEWHERE = "elsewhere"
RIGHTS: dict[str, tuple[tuple[ResourceType, AclOperation], ...]] = {
    "reader": ((TOPIC, READ), (GROUP, READ)),
    "writer": ((TOPIC, WRITE),),
    "groupless": ((TOPIC, READ),),
    "looker": ((TOPIC, DESCRIBE), (GROUP, READ)),
    ELSEWHERE: ((TOPIC, DESCRIBE), (GROUP, READ)),
}
"""Of each user, on every topic and in every group; nobody else has any. One may write to a topic of the same name."""


def binding(kind: ResourceType, name: str, user: str, operation: AclOperation) -> AclBinding:
    allow = AclPermissionType.ALLOW
    return AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, allow)


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    needs_kafka()
    allowed = [binding(kind, "*", user, operation) for user, rights in RIGHTS.items() for kind, operation in rights]
    allowed.append(binding(TOPIC, ELSEWHERE, ELSEWHERE, WRITE))
    server = KafkaServer(secured=True)
    try:
        admin = AdminClient({"bootstrap.servers": server.start().address})
        for answer in admin.create_acls(allowed).values():
            answer.result(30)
        yield server
    finally:
        server.remove()


@pytest.fixture
def numbers(server: KafkaServer, t: str) -> str:
    """A topic with some."""
    with Kafka(server.address) as kafka:
        fill(kafka, t, 10)
    return t


def logged_in(server: KafkaServer, user: str, password: str = PASSWORD) -> Kafka:
    settings = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
    }
    return Kafka(server.login_address, settings)


def test_who_has_the_rights_reads_commits_and_writes(server: KafkaServer, numbers: str, g: str) -> None:
    with logged_in(server, "writer") as kafka:
        (from_iterable(["10", "11"]) | kafka.sink(numbers)).run()
    with logged_in(server, "reader") as kafka:
        flow = kafka.source(numbers, group_id=g, decode=int) | to_list()
        assert flow.run(until="end", timeout=120.0) == list(range(12))
        assert list(kafka.committed(g).values()) == [12]


def test_token_of_a_callback_logs_in(server: KafkaServer, numbers: str, g: str) -> None:
    asked: list[str] = []

    def token(_: str) -> tuple[str, float]:
        asked.append("token")
        until = time.time() + 3600
        return unsecured_token("reader", until), until

    settings = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER", "oauth_cb": token}
    with Kafka(server.login_address, settings) as kafka:
        flow = kafka.source(numbers, group_id=g, decode=int) | to_list()
        assert flow.run(until="end", timeout=120.0) == list(range(10))
    assert asked


@pytest.mark.parametrize("gives", ["nothing", "an error"])
def test_callback_that_gives_no_token_is_told_soon(server: KafkaServer, t: str, gives: str) -> None:
    def token(_: str) -> object:
        if gives == "nothing":
            return None
        raise LookupError("the vault is closed")

    settings = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER", "oauth_cb": token}
    with Kafka(server.login_address, settings) as kafka, soon(), pytest.raises(NotAuthorized) as told:
        (kafka.source(t, group_id="g") | to_list()).run(until="end", timeout=120.0)
    assert "oauth_cb gave no token" in str(told.value)
    assert ("the vault is closed" in str(told.value)) == (gives == "an error")


class Endpoint(BaseHTTPRequestHandler):
    """Gives everybody who asks a token of the reader; notes with what they asked."""

    asked: list[str] = []  # noqa: RUF012  # the server makes an object of this class for each question

    def do_POST(self) -> None:
        self.asked.append(self.headers["Authorization"])
        token = unsecured_token("reader", time.time() + 3600)
        answer = json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 3600}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
        """Nothing to tell."""


@contextmanager
def token_endpoint() -> Iterator[str]:
    Endpoint.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token"
    server.shutdown()
    thread.join()
    server.server_close()


def test_token_of_an_endpoint_logs_in_and_is_not_asked_for_before(server: KafkaServer, numbers: str, g: str) -> None:
    with token_endpoint() as url:
        settings = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": "me",
            "sasl.oauthbearer.client.secret": "battery-staple",
            "sasl.oauthbearer.token.endpoint.url": url,
        }
        with Kafka(server.login_address, settings) as kafka:
            assert Endpoint.asked == []
            flow = kafka.source(numbers, group_id=g, decode=int) | to_list()
            assert flow.run(until="end", timeout=120.0) == list(range(10))
        assert base64.b64encode(b"me:battery-staple").decode() in Endpoint.asked[0]


def test_encrypted_listener_is_read(server: KafkaServer, numbers: str, g: str) -> None:
    certificate = ssl.get_server_certificate(("127.0.0.1", server.tls_port))
    with Kafka(server.tls_address, {"security.protocol": "SSL", "ssl.ca.pem": certificate}) as kafka:
        flow = kafka.source(numbers, group_id=g, decode=int) | to_list()
        assert flow.run(until="end", timeout=120.0) == list(range(10))


def test_encrypted_listener_whose_certificate_is_not_trusted_is_told_soon(server: KafkaServer, t: str) -> None:
    settings = {"security.protocol": "SSL"}
    with (
        Kafka(server.tls_address, settings) as kafka,
        soon(),
        pytest.raises(NotAuthorized, match=r"certificate.*ssl\."),
    ):
        kafka.read(t)


def test_encrypted_listener_that_is_taken_for_a_plain_one_is_told_soon(server: KafkaServer, t: str) -> None:
    with Kafka(server.tls_address) as kafka, soon(), pytest.raises(BrokerUnreachable, match=r"security\.protocol"):
        kafka.read(t)


def unsecured_token(subject: str, until: float) -> str:
    """A JSON web token that nobody signed."""

    def encoded(part: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()

    claims = {"sub": subject, "iat": time.time() - 60, "exp": until}
    return f"{encoded({'alg': 'none'})}.{encoded(claims)}."


def read(kafka: Kafka, topic: str, group: str) -> object:
    return (kafka.source(topic, group_id=group) | to_list()).run(timeout=120.0, count=1)


def write(kafka: Kafka, topic: str, _: str) -> object:
    return kafka.write(topic, ["a"])


def flow_into(kafka: Kafka, topic: str, _: str) -> object:
    return (from_iterable(["a"]) | kafka.sink(topic)).run()


def write_to_topic_of_value(kafka: Kafka, topic: str, _: str) -> object:
    return kafka.write(lambda _: topic, ["a"])


REFUSED: dict[str, tuple[str, Callable[[Kafka, str, str], object], str]] = {
    "read a topic": ("nobody", read, "looking for topic"),
    "read a topic that one may see": ("looker", read, r"(reading|committing) t-.*Topic authorization failed"),
    "read as a member of a group": ("groupless", read, "Group authorization failed"),
    "write": ("nobody", write, "looking for topic"),
    "write what one may read": ("reader", write, "writing"),
    "flow into a topic": ("nobody", flow_into, "looking for topic"),
    "flow into a topic that one may read": ("reader", flow_into, "writing"),
    "write to the topic of a value": ("nobody", write_to_topic_of_value, "writing"),
    "write to the topic of a value, which one may read": ("reader", write_to_topic_of_value, "writing"),
}


@pytest.mark.parametrize("wish", REFUSED)
def test_who_lacks_the_right_is_told_soon(server: KafkaServer, numbers: str, g: str, wish: str) -> None:
    user, do, refused = REFUSED[wish]
    with logged_in(server, user) as kafka, soon(), pytest.raises(NotAuthorized, match=refused) as told:
        do(kafka, numbers, g)
    assert "Ask for the right to do it" in str(told.value)


@pytest.mark.parametrize("user", ["nobody", "reader"])
def test_who_may_not_write_to_the_topic_of_a_value_is_told_soon(server: KafkaServer, numbers: str, user: str) -> None:
    with logged_in(server, user) as kafka, soon(), pytest.raises(FlowError, match="writing") as told:
        (from_iterable(["a"]) | kafka.sink(lambda _: numbers)).run()
    assert isinstance(told.value, NotAuthorized) or isinstance(told.value.__cause__, NotAuthorized), "of the record"
    assert "Ask for the right to do it" in str(told.value)


def test_lack_of_a_right_is_not_the_fault_of_a_record(server: KafkaServer, numbers: str, g: str) -> None:
    with logged_in(server, ELSEWHERE) as kafka, soon(), pytest.raises(NotAuthorized, match="writing"):
        (from_iterable(["a"]) | kafka.sink(numbers, on_error="skip")).run()


def test_record_whose_topic_nobody_may_write_to_is_one_that_fails(server: KafkaServer, numbers: str) -> None:
    with Kafka(server.address) as anyone:
        anyone.create_topic(ELSEWHERE)
    topics = {"a": ELSEWHERE, "b": numbers, "c": ELSEWHERE}
    with logged_in(server, ELSEWHERE) as kafka, soon():
        stats = (from_iterable(topics) | kafka.sink(lambda value: topics[value], on_error="skip")).run()
    assert (stats.delivered, stats.failed) == (2, 1)


@pytest.mark.parametrize("do", [read, write, flow_into])
def test_wrong_password_is_told_soon_and_not_shown(
    server: KafkaServer, numbers: str, g: str, do: Callable[[Kafka, str, str], object], caplog: pytest.LogCaptureFixture
) -> None:
    with logged_in(server, "reader", "battery-staple") as kafka, soon(), pytest.raises(NotAuthorized) as told:
        do(kafka, numbers, g)
    assert "battery-staple" not in str(told.value) + caplog.text + repr(kafka)
