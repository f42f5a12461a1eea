"""The guard against leaked threads finds those that stay, names them, and lets those go that end."""

from __future__ import annotations

import threading

from tests.conftest import leaked


def test_thread_that_stays_is_named() -> None:
    go = threading.Event()
    before = set(threading.enumerate())
    thread = threading.Thread(target=go.wait, name="forgotten", daemon=True)
    thread.start()
    try:
        (told,) = leaked(before, grace=0.0)
        assert told.startswith("forgotten (daemon) at ")
        assert "threading.py" in told, "where it waits"
    finally:
        go.set()
        thread.join()


def test_thread_that_ends_within_the_grace_is_no_leak() -> None:
    go = threading.Event()
    before = set(threading.enumerate())
    threading.Thread(target=go.wait).start()
    go.set()
    assert leaked(before) == []
