"""Pages of models with as many features as a Dataset may have: they fit, and nobody waits for them."""

from __future__ import annotations

import threading

from millrace.clients import scrape
from millrace.contract import profile
from millrace.observe import scrapes
from millrace.observe.exposition import server_page


async def test_a_wide_page_is_read_beside_the_event_loop() -> None:
    """Two thousand features take longer to read than anybody may wait for."""
    main, seen = threading.get_ident(), []

    def act(text: str) -> int:
        seen.append(threading.get_ident() == main)
        return len(text)

    assert [await scrapes._aside(is_long, act, "page") for is_long in (False, True)] == [4, 4]
    assert seen == [True, False]


def test_two_thousand_features_fit_into_what_is_read_of_a_page() -> None:
    name = "n" * 256
    lines = [
        f'{family}{{model="{"m" * 63}",revision="aaaaaaaa",feature="{name[:-4]}{at:04}",bin="{index}"}} 1000000'
        for family in ("millrace_feature_bin_total", "millrace_reference_bin")
        for at in range(profile.MAX_FEATURES)
        for index in range(profile.bins_for(profile.MAX_FEATURES))
    ]
    text = "\n".join(lines) + "\n"
    assert len(text) < scrape.LARGEST_BYTES
    assert len(server_page(text).live) == 2000
