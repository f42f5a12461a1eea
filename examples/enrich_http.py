"""Ask an API about every order: 32 requests in flight, order kept within a customer, failures tried again.

The API runs here, on loopback: it takes 20 ms for an answer, now and then answers 503, and knows no customer 13. Orders
of that customer end among the dead letters after three attempts.

Run it with: python examples/enrich_http.py [--broker URL]. Without a URL the broker is one in memory.
"""

import argparse
import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from flowdsl import JSON, connect, dead_letter, map_, retry, using

ORDERS, CUSTOMERS = 400, 20
UNKNOWN = 13


class Api(BaseHTTPRequestHandler):
    """Answers GET /customers/7."""

    seen: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.seen[self.path] += 1
        customer = int(self.path.rpartition("/")[2])
        overloaded = self.seen[self.path] % 10 == 1
        status = 503 if overloaded else 404 if customer == UNKNOWN else 200
        threading.Event().wait(0.02)
        body = json.dumps({"name": f"customer {customer}", "discount": customer % 5}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002  # the name that the base class gives it
        """Quiet."""


@contextmanager
def api() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Client:
    """As little of an HTTP client as this needs; yours would be httpx.AsyncClient or the like."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def get(self, path: str) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        status = int(head.split()[1])
        if status != 200:
            msg = f"GET {path}: {status}"
            raise OSError(msg)
        return json.loads(body)


async def enrich(client: Client, order: dict[str, Any]) -> dict[str, Any]:
    customer = await client.get(f"/customers/{order['customer']}")
    return order | {"name": customer["name"], "cents": order["cents"] * (100 - customer["discount"]) // 100}


def main(url: str | None) -> None:
    broker = connect(url)
    orders = ({"id": number, "customer": number % CUSTOMERS, "cents": 100 * number} for number in range(ORDERS))
    broker.write("orders", orders, encode=JSON)

    with api() as port:

        @asynccontextmanager
        async def client() -> AsyncIterator[Client]:
            yield Client(port)

        flow = (
            broker.source("orders", group_id="enrich", decode=JSON)
            | map_(
                using(client, enrich),
                concurrency=32,
                key=lambda order: order["customer"],
                timeout=5.0,
                on_error=retry(3, first=0.05, only=OSError, then=dead_letter(broker.sink("orders-dead"))),
            )
            | broker.sink("enriched", encode=JSON)
        )
        print(flow.run(until="end", progress=True))

    enriched = broker.read("enriched", decode=JSON)
    values = [record.value or {} for record in enriched]
    of_seven = [value["id"] for value in values if value["customer"] == 7]
    print(f"enriched: {len(enriched)}, the orders of customer 7 in order: {of_seven == sorted(of_seven)}")
    for letter in broker.read("orders-dead", count=1):
        told = dict(letter.headers)
        print(
            "dead letter:",
            (told["flowdsl-message"] or b"").decode(),
            "after",
            (told["flowdsl-attempts"] or b"").decode(),
            "attempts",
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--broker", metavar="URL", help="such as local: (default: $FLOWDSL_BROKER, or in memory)")
    main(parser.parse_args().broker)
