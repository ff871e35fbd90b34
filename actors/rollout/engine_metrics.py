"""vLLM's own metrics at the node's metrics port: what its statistics say, through Ray, labelled with run and worker."""

from __future__ import annotations

from typing import Any

import ray
from vllm.v1.metrics.ray_wrappers import (
    RayCounterWrapper,
    RayGaugeWrapper,
    RayHistogramWrapper,
    RayPrometheusStatLogger,
    RaySpecDecodingProm,
)


def ray_metrics() -> type[RayPrometheusStatLogger]:
    """vLLM's logger of metrics for the engine of this actor, whose name is RUN/WORKER; outside an actor both are ""."""
    run, _, worker = (ray.get_runtime_context().get_actor_name() or "").rpartition("/")
    labels = {"run": run, "worker": worker}

    class SpecDecoding(RaySpecDecodingProm):
        _counter_cls = _labelled(RayCounterWrapper, labels)

    class Labelled(RayPrometheusStatLogger):
        _gauge_cls = _labelled(RayGaugeWrapper, labels)
        _counter_cls = _labelled(RayCounterWrapper, labels)
        _histogram_cls = _labelled(RayHistogramWrapper, labels)
        _spec_decoding_cls = SpecDecoding

    return Labelled


def _labelled(wrapper: Any, labels: dict[str, str]) -> Any:
    """A class of vLLM's metrics with further labels."""

    class Metric(wrapper):
        @staticmethod
        def _get_tag_keys(labelnames: list[str] | None) -> tuple[str, ...]:
            return (*wrapper._get_tag_keys(labelnames), *labels)

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.metric.set_default_tags(labels)

        def _build_tags(self, *values: Any, **named: Any) -> dict[str, str]:
            # vLLM counts the labels that it gives in order, and knows of none of these.
            in_order = dict(zip(self.metric._tag_keys, values, strict=False))
            return super()._build_tags(**in_order, **named)

    return Metric
