"""What becomes of the offset of an invalid message: it travels on without data, and nothing else travels with it."""

from __future__ import annotations

from typing import Any

from flowdsl.errors import FlowError, InvalidMessage
from flowdsl.types import FILTERED_PAYLOAD, FilteredPayload, Message


def is_about(invalid: InvalidMessage, message: Message[Any]) -> bool:
    """Whether ``invalid``, raised while ``message`` was submitted, is about it, and not about an earlier one.

    A message without offsets is one of several values of a record, and gives no way to tell; strategies raise while
    they take it only on its own account.
    """
    committable = message.committable
    return not committable or committable.get(invalid.partition) == invalid.offset + 1


def pass_over(message: Message[Any], invalid: InvalidMessage) -> Message[FilteredPayload] | None:
    """What is handed on in place of an invalid message; None where nothing has to be.

    Raises FlowError where the message stands for more than the record that ``invalid`` names: to hand on its offset
    would pass over the others, which nobody has seen.
    """
    if not invalid.needs_commit:
        return None
    committable = message.committable
    invalid.needs_commit = False
    if not committable:  # one of several values of a record: the last of them moves the offset
        return None
    if dict(committable) != {invalid.partition: invalid.offset + 1}:
        invalid.needs_commit = True
        ends = ", ".join(f"{partition} below {offset}" for partition, offset in committable.items())
        msg = (
            f"InvalidMessage names {invalid.partition} offset {invalid.offset}, but was raised for a message that stands"
            f" for {ends}. Nothing of it was committed. Check single records before they are grouped, or use"
            " InvalidMessage.from_value with the message at hand."
        )
        raise FlowError(msg) from invalid
    return message.replace(FILTERED_PAYLOAD)
