"""Error policies as values."""

from typing import Any

import pytest

from flowdsl import dead_letter, from_iterable, map_, sink
from flowdsl.plan.policy import SKIP, STOP, DeadLetter, error_policy


def test_words_stand_for_policies() -> None:
    assert error_policy("stop") is STOP
    assert error_policy("skip") is SKIP
    assert error_policy(None) is None
    assert error_policy(SKIP) is SKIP


@pytest.mark.parametrize("wrong", ["ignore", 3, "", False, ["stop"]])
def test_other_values_are_refused_by_argument_and_value(wrong: Any) -> None:
    with pytest.raises(ValueError, match="on_error must be") as refused:
        map_(str, on_error=wrong)
    assert repr(wrong) in str(refused.value)


def test_a_dead_letter_needs_something_that_can_be_put_onto_a_flow() -> None:
    wrong: Any = "topic"
    with pytest.raises(TypeError, match=r"sink must be a sink .* not 'topic'"):
        dead_letter(wrong)


def test_the_sink_of_dead_letters_is_a_plan_once_its_step_is_in_a_flow() -> None:
    flow = from_iterable([1]) | map_(str, on_error=dead_letter(map_(bytes.decode) | sink(print)))
    policy = flow.plan.steps[0].on_error
    assert isinstance(policy, DeadLetter)
    assert [step.word for step in policy.plan.steps] == ["map_", "sink"]
    assert policy.plan.closed


def test_flows_with_equal_policies_are_equal() -> None:
    def made() -> object:
        return from_iterable((1,)) | map_(str, on_error=dead_letter(sink(print)))

    assert made() == made()
    assert hash(made()) == hash(made())
