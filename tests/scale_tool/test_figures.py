"""From log lines and samples to figures, ratios and growth."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace_scale import audit, figures, meter, report
from millrace_scale.audit import Write
from millrace_scale.contenders import object_name
from millrace_scale.figures import Figures, Run
from millrace_scale.meter import Sample

STATUS = "Name:\tx\nGroups:\t\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"


def entry(user: str = "twin", verb: str = "patch", code: int = 201, **changes: Any) -> dict[str, Any]:
    about = {"resource": "configmaps", "namespace": "n", "name": "o00001", **changes.pop("about", {})}
    return {
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/x?fieldManager=y",
        "verb": verb,
        "user": {"username": user},
        "objectRef": about,
        "responseStatus": {"code": code},
        "stageTimestamp": "2026-11-21T10:00:00.250000Z",
        **changes,
    }


def write(at: float, name: str, *, code: int = 201, resource: str = "configmaps", subresource: str = "") -> Write:
    return Write(at, "twin", "patch", resource, subresource, "n", name, code)


def run(**changes: Any) -> Run:
    """Two objects: the children are there after 1 s and 3 s, the last write comes after 4 s."""
    writes = [
        write(1.0, "o00000"),
        write(1.5, "o00000", code=200, resource="widgets", subresource="status"),
        write(3.5, "o00001-router"),
        write(3.6, "o00001", resource="services"),
        write(4.0, "o00001.abc", resource=audit.EVENTS),
    ]
    samples = [
        (0.0, Sample(1.0, 50, 50)),
        (3.9, Sample(1.2, 60, 60)),
        (4.1, Sample(1.3, 60, 61)),
        (9.0, Sample(2, 60, 61)),
    ]
    idle = (10.0, Sample(2.0, 60, 61), 20.0, Sample(2.1, 55, 61), 0)
    made = Run("twin", 2, {"o00000": 0.0, "o00001": 0.5}, writes, samples, idle)
    return replace(made, **changes)


def test_a_log_is_read_as_it_grows_and_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text(json.dumps(entry()) + "\n")
    log = audit.Log(path)
    assert log.read() == []
    line = json.dumps(entry(about={"name": "later"}))
    with path.open("a") as file:
        file.write(line[:40])
        file.flush()
        assert log.read() == []
        file.write(line[40:] + "\n")
        file.flush()
    (found,) = log.read()
    assert (found.name, found.user, found.makes) == ("later", "twin", True)
    assert found.at % 1 == 0.25


def test_dry_runs_are_no_writes() -> None:
    assert list(audit.parse(entry(requestURI="/apis/x?dryRun=All&fieldManager=y"))) == []
    assert len(list(audit.parse(entry()))) == 1


def test_refused_writes_leases_and_other_users_do_not_count() -> None:
    entries = [
        entry(),
        entry(code=409),
        entry(user="maker"),
        entry(about={"resource": "leases"}),
        entry(about={"namespace": "elsewhere"}),
        entry(code=200, about={"subresource": "status"}),
    ]
    found = audit.of([one for line in entries for one in audit.parse(line)], "twin", "n")
    assert [one.makes for one in found] == [True, False]


def test_a_run_is_counted_from_the_creates_to_the_last_write() -> None:
    found = figures.figures(run())
    assert (found.first_child_p50_s, found.first_child_p99_s) == (3.0, 3.0)
    assert found.objects_per_s == pytest.approx(2 / 3.5)
    assert (found.children_per_object, found.children_per_s) == (1.5, pytest.approx(3 / 3.6))
    assert (found.writes_per_object, found.events_per_object) == (2.0, 0.5)
    assert found.cpu_ms_per_object == pytest.approx(150), "the sample after the last write, not the last sample"
    assert found.cpu_ms_per_write == pytest.approx(60)
    assert found.idle_cpu_percent == pytest.approx(1.0)
    assert (found.rss_mib, found.peak_rss_mib, found.settled_s) == (55, 61, 4.0)


def test_an_object_without_a_child_is_no_result() -> None:
    with pytest.raises(ValueError, match="1 of 2 objects of twin never got a child"):
        figures.figures(run(writes=run().writes[:2]))


def test_names_of_objects_do_not_begin_each_other() -> None:
    names = [object_name(number) for number in (0, 1, 10, 100, 9999, 10000)]
    assert len({len(name) for name in names}) == 1


def test_of_repeated_runs_every_figure_is_the_median_but_idle_writes_the_most() -> None:
    base = figures.figures(run())
    runs = [replace(base, cpu_ms_per_object=value, idle_writes=int(value)) for value in (3.0, 1.0, 2.0)]
    found = figures.median(runs)
    assert (found.cpu_ms_per_object, found.idle_writes, found.contender) == (2.0, 3, "twin")


def test_memory_and_cpu_are_read_from_proc_whatever_the_process_is_called() -> None:
    fields = " ".join(str(number) for number in range(3, 53))
    ticks = os.sysconf("SC_CLK_TCK")
    found = meter.parse(f"42 (a) b (c)) S {fields}", STATUS)
    assert found == Sample((13 + 14) / ticks, 1.0, 2.0)
    assert meter.read(os.getpid()).rss > 1


def of(contender: str, count: int, **values: float) -> Figures:
    return replace(figures.figures(run()), contender=contender, count=count, **values)  # type: ignore[arg-type]


def test_ratios_are_ours_over_theirs_where_both_were_measured() -> None:
    found = [of("kernel", 100, cpu_ms_per_object=3.0), of("twin", 100, cpu_ms_per_object=2.0), of("millrace", 1000)]
    assert report.ratios(found)[100]["kernel/twin"]["cpu_ms_per_object"] == 1.5
    assert 1000 not in report.ratios(found)


def test_growth_is_from_the_smallest_to_the_largest_count() -> None:
    small = of("twin", 100, cpu_ms_per_object=2.0, rss_mib=40.0)
    large = of("twin", 1100, cpu_ms_per_object=3.0, rss_mib=50.0)
    grown = report.growth([large, small, of("kernel", 100)])
    assert grown["twin"]["cpu_ms_per_object"] == 1.5
    assert grown["twin"]["kib_per_further_object"] == pytest.approx(10.24)
    assert "kernel" not in grown


def test_tables_have_a_row_for_each_operator_and_count() -> None:
    found = [of("twin", 1000), of("kernel", 1000), of("twin", 100)]
    lines = report.table(found, {"kernel": "ours", "twin": "theirs"}).splitlines()
    assert [line.split("|")[1:3] for line in lines[2:]] == [
        [" 100     ", " theirs   "],
        [" 1,000   ", " ours     "],
        [" 1,000   ", " theirs   "],
    ]
    assert len({len(line) for line in lines}) == 1


def test_the_ratios_at_a_thousand_stand_at_the_top_of_the_document() -> None:
    found = [of("kernel", 1000, children_per_s=80.0), of("twin", 1000, children_per_s=100.0)]
    assert report.document(found, found)["kernel/twin children_per_s at 1,000"] == 0.8


def test_what_was_measured_at_other_counts_is_kept_and_the_rest_is_not(tmp_path: Path) -> None:
    assert report.measured_before(tmp_path, [5000]) == report.Before()
    found = [of("kernel", 100), of("twin", 5000)]
    report.write(tmp_path, report.document(found, found, machine="a machine", further={"worst": 16.0}), "")
    assert report.measured_before(tmp_path, [5000]) == report.Before([of("kernel", 100)], "a machine", {"worst": 16.0})
