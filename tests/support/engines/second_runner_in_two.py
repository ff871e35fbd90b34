"""A program: vLLM's second model runner in two processes with half of every layer each, on a CPU.

    VLLM_USE_V2_MODEL_RUNNER=1 TRITON_INTERPRET=1 python -m tests.support.engines.second_runner_in_two MODEL TASKS

Writes the same responses twice, then once more with new weights in the middle. Prints one JSON object: how far the
engine's log-probabilities are from those of the learner's policy, and where the new weights began.
"""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import torch

from actors.model.encode import Encoder, PromptConfig
from actors.model.policy import Policy
from actors.rollout.config import RolloutConfig
from actors.rollout.vllm_engine import ENGINE_IMPORTS, EnginePrompt, VllmEngine
from actors.trajectory import Sample
from actors.weights.buckets import bucket_of, files_of
from curriculum.taskset import read_tasks
from tests.support.engines import second_runner
from tests.support.engines.probes import probe_of

RANKS, RESPONSES, TOKENS, TEMPERATURE = 2, 3, 48, 0.7
CPU = torch.device("cpu")
CONFIG = RolloutConfig(max_model_tokens=512).model_copy(
    update={
        "engine": {
            "tensor_parallel_size": RANKS,
            "distributed_executor_backend": "mp",
            "worker_cls": "vllm.v1.worker.cpu_worker.CPUWorker",
        }
    }
)


class Writer:
    """An engine and the policy whose weights it should have."""

    def __init__(self, model, tasks):
        self.tasks = tasks
        self.policy = Policy(model, Encoder(model, PromptConfig()), torch.float32)
        second_runner.keep_asynchronous()
        self.engine = VllmEngine(CONFIG, str(model), self.policy.encoder, 1)

    async def write(self, moved=False):
        """Responses to all tasks; if `moved`, new weights come once one more response, which is not kept, has begun."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        await self.engine.llm.update_weight_version("0.1")
        common = dict(temperature=TEMPERATURE, seed=5, max_tokens=TOKENS, ignore_eos=True, detokenize=False)
        kept = SamplingParams(
            **common, n=RESPONSES, logprobs=0, flat_logprobs=True, output_kind=RequestOutputKind.FINAL_ONLY
        )
        watched = SamplingParams(**common, output_kind=RequestOutputKind.DELTA)
        encoder = self.policy.encoder
        prompts = [EnginePrompt(encoder.prompt_ids(task), task.images, kept) for task in self.tasks]
        if moved:
            prompts.append(EnginePrompt(encoder.prompt_ids(self.tasks[0]), self.tasks[0].images, watched))
        queues = await self.engine.submit_all(prompts)
        if moved:
            await queues[-1].get()
            await self.move()
        outputs = [await self.engine.finish(queue) for queue in queues[: len(self.tasks)]]
        return [sorted(output.outputs, key=lambda one: one.index) for output in outputs]

    async def move(self):
        """New weights, for the policy and then for the engine."""
        with torch.no_grad():
            for parameter in self.policy.parameters():
                parameter.mul_(1.02)
        await self.engine.load(
            files_of(bucket_of(self.policy.published(part)) for part in self.policy.parts(2**18)), "0.2"
        )

    def off(self, outputs, first=lambda _: 0):
        """The largest difference between the engine's log-probabilities and the policy's, over tokens from `first`."""
        worst = 0.0
        for task, responses in zip(self.tasks, outputs, strict=True):
            for response in responses:
                ids = np.array(response.token_ids, np.int32)
                sample = Sample(self.policy.encoder.expand(task), task.images, ids)
                with torch.no_grad():
                    right = self.policy(self.policy.collate([sample], [0], CPU), TEMPERATURE)[0].numpy()
                start = first(response)
                difference = np.abs(np.array(response.logprobs.logprobs, np.float32) - right)[start:]
                worst = max([worst, *difference.tolist()])
        return worst


def first_of_new(response):
    """The number of the first token that the new weights wrote."""
    starts = [span.start for span in response.weight_versions if span.version == "0.2"]
    return starts[0] if starts else len(response.token_ids)


def ids_of(outputs):
    return [list(response.token_ids) for responses in outputs for response in responses]


async def main(model, tasks):
    writer = Writer(model, tasks)
    engine, encoder = writer.engine, writer.policy.encoder
    try:
        config = engine.llm.vllm_config
        told = {
            "second_runner": config.use_v2_model_runner,
            "asynchronous": config.scheduler_config.async_scheduling,
            "ranks": config.parallel_config.tensor_parallel_size,
            "probe": (await engine.compare(probe_of(writer.policy, tasks))).largest,
        }
        first = await writer.write()
        second = await writer.write()
        forbidden = set(encoder.forbidden(writer.policy.bias.numel()))
        told |= {
            "repeated": ids_of(first) == ids_of(second),
            "forbidden": sum(token in forbidden for ids in ids_of(first) for token in ids),
            "off": writer.off(first),
        }

        third = await writer.write(moved=True)
        told |= {"tokens": TOKENS, "off_new": writer.off(third, first_of_new)}
        told["starts_of_new"] = [first_of_new(response) for responses in third for response in responses]
        told["probe_new"] = (await engine.compare(probe_of(writer.policy, tasks))).largest
    finally:
        engine.llm.shutdown()
    print(json.dumps(told))


if __name__ == "__main__":
    ENGINE_IMPORTS.insert(0, second_runner.__name__)
    asyncio.run(main(Path(sys.argv[1]), read_tasks(Path(sys.argv[2]))[:3]))
