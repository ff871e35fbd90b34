"""A circuit breaker: while a rule's endpoint is down, calls wait for it instead of failing one by one."""

from __future__ import annotations

from rewards.calls.clock import Clock

FAILURES = 10  # responses in a row whose first try failed, before the endpoint counts as down
PATIENCE_S = 60.0  # how long calls wait for it in one outage; later ones fail at once
FIRST_PROBE_S = 1.0  # until it is tried again; doubles
LAST_PROBE_S = 15.0
LOOK_S = 0.1


class EndpointDown(RuntimeError):
    """The endpoint has been down for so long that calls no longer wait for it."""


class Outage:
    """Watches the tries of one rule.

    Attributes:
        notes: when an outage began and ended, in words, once each; the reader empties the list.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.name, self.clock = name, clock
        self.notes: list[str] = []
        self._failures = 0
        self._why = ""
        self._since: float | None = None
        self._probe_at = 0.0
        self._probe_pause_s = FIRST_PROBE_S
        self._probing = False

    @property
    def is_long(self) -> bool:
        """Whether the endpoint has been down for longer than calls wait."""
        return self._since is not None and self.clock.now() - self._since > PATIENCE_S

    async def wait(self) -> bool:
        """Waits until a try makes sense. Returns whether this try is the one that finds out if the endpoint is back.

        Raises:
            EndpointDown: it has been down for longer than calls wait.
        """
        while self._since is not None:
            now = self.clock.now()
            if not self._probing and now >= self._probe_at:
                self._probing = True
                return True
            if self.is_long:
                raise EndpointDown(f"no answer for {now - self._since:.0f} s ({self._why})")
            await self.clock.sleep(LOOK_S)
        return False

    def answered(self) -> None:
        """A try was answered, with a value or not."""
        self._failures = 0
        if self._since is not None:
            self.notes.append(f"{self.name}: answers again after {self.clock.now() - self._since:.0f} s")
            self._since = None
            self._probing = False

    def failed(self, why: str, probe: bool, first: bool) -> None:
        """A try found no endpoint, or no answer in time.

        Args:
            probe: what `wait` returned for it.
            first: whether it was the first try of its call. Others do not count: calls that fail again and again are
                what is left at the end, when all others have been answered.
        """
        self._failures += first
        self._why = why
        if self._since is None and self._failures >= FAILURES:
            self._since = self.clock.now()
            self._probe_pause_s = FIRST_PROBE_S
            self._probe_at = self._since + FIRST_PROBE_S
            self.notes.append(
                f"{self.name}: does not answer, {FAILURES} calls in a row failed ({why}); its calls wait up to "
                f"{PATIENCE_S:g} s, later ones count as 0 until it answers"
            )
        elif probe:
            self._probing = False
            self._probe_pause_s = min(LAST_PROBE_S, 2 * self._probe_pause_s)
            self._probe_at = self.clock.now() + self._probe_pause_s
