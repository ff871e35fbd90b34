"""How often, and how soon, a worker that died may be replaced. Pure: the caller passes the time."""

from __future__ import annotations

from collections import deque


class Restarts:
    """Replaces a dead worker later with every death, and not at all after too many deaths in a while.

    Args:
        limit: how many deaths within `window_s` are tolerated; after more, no worker is replaced.
        backoff_s: the wait after one death; it doubles with every further one within the window.
        longest_s: the longest wait.
    """

    def __init__(self, limit: int, window_s: float, backoff_s: float, longest_s: float = 60) -> None:
        self.limit = limit
        self.window_s = window_s
        self.backoff_s = backoff_s
        self.longest_s = longest_s
        self.deaths: deque[float] = deque()

    def died(self, now: float) -> None:
        """Records a death."""
        self.deaths.append(now)

    def wait_s(self, now: float) -> float | None:
        """Seconds until the next worker may start, 0 for at once; None if too many died."""
        while self.deaths and now - self.deaths[0] > self.window_s:
            self.deaths.popleft()
        if not self.deaths:
            return 0.0
        if len(self.deaths) > self.limit:
            return None
        wait = min(self.longest_s, self.backoff_s * 2 ** (len(self.deaths) - 1))
        return max(0.0, self.deaths[-1] + wait - now)
