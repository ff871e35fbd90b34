"""How often, and how soon, what died may be started anew. Pure: the caller brings the time."""

from __future__ import annotations

from collections import deque


class Restarts:
    """How soon a worker that died may be replaced: later after every death, and never after too many in a while.

    Args:
        limit: deaths within `window_s` after which none is replaced.
        backoff_s: the wait after one death; it doubles with every further one within the window.
        longest_s: the longest wait.
    """

    def __init__(self, limit: int, window_s: float, backoff_s: float, longest_s: float = 60) -> None:
        self.limit, self.window_s, self.backoff_s, self.longest_s = limit, window_s, backoff_s, longest_s
        self.deaths: deque[float] = deque()

    def died(self, now: float) -> None:
        self.deaths.append(now)

    def wait_s(self, now: float) -> float | None:
        """Seconds until the next may be started, 0 where at once; None where too many died."""
        while self.deaths and now - self.deaths[0] > self.window_s:
            self.deaths.popleft()
        if not self.deaths:
            return 0.0
        if len(self.deaths) > self.limit:
            return None
        wait = min(self.longest_s, self.backoff_s * 2 ** (len(self.deaths) - 1))
        return max(0.0, self.deaths[-1] + wait - now)
