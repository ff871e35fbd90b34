"""A rank with ZeRO-3 holds its share of a model while it reads it, not the whole.

That its numbers are right is shown by the tests of the learner, all of which load so.
"""

from actors.learner.config import LearnerConfig
from actors.learner.setup import RankSetup
from actors.model.encode import PromptConfig
from actors.model.folder.weights import read_weights
from actors.model.tiny_model import TinyModelConfig, make_tiny_model


def test_no_rank_holds_the_whole_model_while_it_reads_it(two, tmp_path):
    model = make_tiny_model(TinyModelConfig(hidden=768, layers=10, vision_steps=0), ["a film"], tmp_path / "model")
    whole = sum(4 * tensor.size for tensor in read_weights(model).values())
    two.make(zero_stage=3)
    setup = RankSetup(LearnerConfig(workers=2, zero_stage=3), PromptConfig(), str(model), None, 0)
    for peak in two.all("loading_sharded", setup):
        assert peak < 0.8 * whole  # half of it, and what a process needs besides
