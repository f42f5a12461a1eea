"""Which jars make a Kafka: Maven resolves pom.xml into ~/.m2 once, and the class path is kept under .venv/."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
CACHE = POM.parents[2] / ".venv"
RESOLVE = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath"


class KafkaMissingError(Exception):
    """There is no Kafka to test with, and how to get one."""


def what_lacks() -> str | None:
    """Why no Kafka can be started here, or None."""
    lacking = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if not lacking:
        return None
    return f"no Kafka here: {' and '.join(lacking)} not found. Install Java 17 and Maven, or set FLOWDSL_TEST_KAFKA=host:port"


def class_path() -> str:
    """Java's class path; a minute or two when it is asked for the first time. Raises KafkaMissingError."""
    CACHE.mkdir(exist_ok=True)
    kept = CACHE / f"kafka-{sha256(POM.read_bytes()).hexdigest()[:12]}.classpath"
    with (CACHE / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of several test runs one asks Maven, the others wait
        if not kept.exists() or not all(Path(jar).exists() for jar in kept.read_text().split(os.pathsep)):
            _resolve(kept)
    return kept.read_text()


def _resolve(kept: Path) -> None:
    lacks = what_lacks()
    if lacks is not None:
        raise KafkaMissingError(lacks)
    fresh = kept.with_suffix(".new")
    command = ["mvn", "-q", "-B", "-f", str(POM), RESOLVE, f"-Dmdep.outputFile={fresh}", "-DincludeScope=runtime"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode or not fresh.exists():
        msg = f"Maven could not get the jars of Kafka:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise KafkaMissingError(msg)
    fresh.replace(kept)


if __name__ == "__main__":
    if what_lacks() is not None:
        sys.exit(what_lacks())
    sys.stdout.write(f"Kafka for the tests: {class_path().count(os.pathsep) + 1} jars\n")
