"""Runs inside TRL's environment: its own code on our numbers. JSON list of questions on stdin, answers on stdout."""

import contextlib
import json
import sys
import tempfile

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

TRAINERS = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}


def make_trainer(kind, group_size, count, **settings):
    """A real trainer around a tiny model; one batch is `count` responses."""
    words = Tokenizer(
        models.WordLevel({"<pad>": 0, "</s>": 1, **{f"w{n}": n + 2 for n in range(6)}}, unk_token="<pad>")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
        )
    )
    folder = tempfile.mkdtemp()
    model.save_pretrained(folder)  # from there a reference model is loaded, too
    trainer, config = TRAINERS[kind]
    arguments = config(
        output_dir=folder,
        per_device_train_batch_size=count,
        num_generations=group_size,
        max_completion_length=settings.pop("max_completion_length", 4),
        use_cpu=True,
        report_to=[],
        bf16=False,
        gradient_checkpointing=False,
        **settings,
    )
    made = trainer(
        model=folder,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": ["w1 w2"]}),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
    )
    made.model.train()
    return made


def advantages(question):
    rewards = torch.tensor(question["rewards"], dtype=torch.float64)
    trainer = make_trainer(question["trainer"], rewards.shape[1], rewards.numel(), **question["settings"])
    trainer._calculate_rewards = lambda *_, **__: rewards.reshape(-1, 1)
    inputs = [{"prompt": f"w{g % 6}"} for g, group in enumerate(question["rewards"]) for _ in group]
    return {"value": trainer._generate_and_score_completions(inputs)["advantages"].tolist()}


def loss(question):
    arrays = {name: torch.tensor(rows, dtype=torch.float64) for name, rows in question["arrays"].items()}
    logp, entropy, mask = arrays["logp"].requires_grad_(), arrays["entropy"].requires_grad_(), arrays["mask"]
    trainer = make_trainer("grpo", len(logp), len(logp), **question["settings"])
    trainer.current_gradient_accumulation_steps = 1
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = "importance_sampling_ratio" in arrays
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (logp, entropy, None)
    ids = torch.zeros(mask.shape, dtype=torch.long)
    value = trainer._compute_loss(
        trainer.model,
        {
            "prompt_ids": ids[:, :1],
            "prompt_mask": ids[:, :1] + 1,
            "completion_ids": ids,
            "completion_mask": mask,
            "advantages": arrays["advantages"],
            "old_per_token_logps": arrays["old"],
            "ref_per_token_logps": arrays["reference"],
            "num_items_in_batch": mask.sum(),
            **{name: arrays[name] for name in ("importance_sampling_ratio",) if name in arrays},
        },
    )
    value.backward()
    return {
        "value": value.item(),
        "gradient": logp.grad.tolist(),
        "entropy_gradient": torch.zeros_like(logp).tolist() if entropy.grad is None else entropy.grad.tolist(),
    }


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        answers = [
            {"advantages": advantages, "loss": loss}[question["what"]](question) for question in json.load(sys.stdin)
        ]
    json.dump(answers, sys.stdout)
