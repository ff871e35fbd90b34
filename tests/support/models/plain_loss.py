"""The loss of an update in plain Python, token by token: an independent reference for tests."""

import math

LONGEST = 64  # tokens of a response: the default of `length_scale`


def naive(responses, training, flat=()):
    """The loss of an update.

    `responses` are (logp, entropy, old, rollout, advantages, reference, kept); `flat` are the numbers of those whose
    group has no advantage, which count for KL and entropy alone.
    """
    kept = [len(logp) for logp, *_, keep in responses if keep and len(logp)]
    teaching = [len(r[0]) for n, r in enumerate(responses) if r[-1] and len(r[0]) and n not in flat]
    if training.count_flat_groups or training.aggregation == "sequence_sum":
        teaching = kept
    total = 0.0
    for logp, entropy, old, rollout, advantages, ref, keep in responses:
        if not keep:
            continue
        length = len(logp)
        for t in range(length):
            ratio = (logp[t] - old[t]).exp()
            if training.ratio == "sequence":
                whole = math.exp(sum((logp[i] - old[i]).item() for i in range(length)) / length)
                ratio = whole * (logp[t] - logp[t].item()).exp()
            low = -math.inf if training.clip_low is None else 1 - training.clip_low
            high = math.inf if training.clip_high is None else 1 + training.clip_high
            a = advantages[t].item()
            if training.clip == "cispo":
                loss = -min(max(ratio.item(), low), high) * a * logp[t]
            else:
                loss = max(
                    -a * ratio,
                    -a * min(max(ratio, logp.new_tensor(low)), logp.new_tensor(high)),
                    key=lambda x: x.item(),
                )
                if a < 0 and training.dual_clip is not None and loss.item() > -a * training.dual_clip:
                    loss = logp.new_tensor(-a * training.dual_clip)
            away = math.exp((old[t] - rollout[t]).item())
            if training.correction == "sequence":
                away = math.exp(sum((old[i] - rollout[i]).item() for i in range(length)))
            if training.correction != "none":
                loss = loss * min(away, training.correction_cap)
            rest = 0.0
            if training.kl and training.kl_in == "loss":
                d = logp[t] - ref[t]
                rest = training.kl * {"k1": d, "k2": d * d / 2, "k3": (-d).exp() + d - 1}[training.kl_estimator]
            rest = rest - training.entropy * entropy[t]
            for part, counted in ((loss, teaching), (rest, kept)):
                divisor = {
                    "token_mean": sum(counted),
                    "sequence_mean": len(counted) * length,
                    "sequence_sum": len(counted) * (training.length_scale or LONGEST),
                }[training.aggregation]
                total = total + part / max(divisor, 1)
    return total
