"""Arguments of vLLM's engine that a recipe may pass on."""

import pytest
from pydantic import ValidationError

from actors.rollout.config import RolloutConfig
from actors.rollout.engine_options import PROMISES, SETTINGS, SPECULATIVE, engine_arguments


@pytest.mark.parametrize(
    "options, gpus, words",
    [
        (dict(dtype="half"), 0, "engine.dtype: rollout.dtype sets it"),
        (dict(enable_lora=True), 1, "engine.enable_lora: learner.lora sets it"),
        (dict(logprobs_mode="raw_logprobs"), 1, "engine.logprobs_mode cannot be set: the learner needs"),
        (dict(trust_remote_code=True), 1, "code from a model folder is never run"),
        (dict(speculative_config={"method": "ngram"}), 0, "it needs GPUs"),
        (dict(quantisation="fp8"), 1, "no such argument; did you mean 'quantization'?"),
    ],
)
def test_arguments_of_the_engine_that_a_run_cannot_pass_on_are_refused_by_name(options, gpus, words):
    with pytest.raises(ValidationError, match=words):
        RolloutConfig(gpus=gpus, engine=options)


def test_other_arguments_of_the_engine_are_passed_on_and_those_that_are_refused_exist():
    options = dict(quantization="fp8", kv_cache_dtype="fp8", enable_prefix_caching=False, scheduling_policy="fcfs")
    assert RolloutConfig(gpus=1, engine=options | {"speculative_config": {"method": "ngram"}}).engine
    assert engine_arguments() >= {*SETTINGS, *PROMISES, *SPECULATIVE}
