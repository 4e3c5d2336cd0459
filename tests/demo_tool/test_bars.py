"""The two bars of the demo add up to what was sent, and nothing turns at the end."""

from __future__ import annotations

import io

from rich.console import Console

from millrace_demo.bars import Bars


def test_the_bars_add_up_to_the_requests_and_both_are_full_at_the_end() -> None:
    bars = Bars(Console(file=io.StringIO()), 1500)
    bars.show(700)
    bars.show(1496)
    bars.shift(1512)
    bars.show(5000)
    bars.end(5533)
    first, second = bars.progress.tasks
    assert (first.completed, second.completed) == (1512, 4021)
    assert first.finished
    assert second.finished
