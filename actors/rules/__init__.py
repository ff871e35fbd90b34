"""Ready-made rules that are models. Recipes name them `actors.rules:RewardModel` and so on (docs/model-rules.md).

Nothing heavy is imported before a worker constructs a rule.
"""

from actors.rules.bert_score import BertScore
from actors.rules.chexbert_f1 import ChexbertF1
from actors.rules.green_score import GreenScore
from actors.rules.radgraph_f1 import RadgraphF1
from actors.rules.rate_score import RateScore
from actors.rules.reward_model import RewardModel

__all__ = ["BertScore", "ChexbertF1", "GreenScore", "RadgraphF1", "RateScore", "RewardModel"]
