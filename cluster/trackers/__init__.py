"""Where a run's numbers go beside its folder. A tracker is one file here, and one line in `TRACKERS`."""

from cluster.trackers.base import RunInfo, Tracker, TrackerKind
from cluster.trackers.mlflow import MLflowTracker
from cluster.trackers.tensorboard import TensorBoard
from cluster.trackers.wandb import WandbTracker

TRACKERS: dict[str, TrackerKind] = {"wandb": WandbTracker, "mlflow": MLflowTracker}
"""The values that a recipe's `trackers` may have. TensorBoard is not among them: every run folder has its files."""

__all__ = ["TRACKERS", "RunInfo", "TensorBoard", "Tracker", "TrackerKind"]
