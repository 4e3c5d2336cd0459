"""Results as a list for a terminal and as a matrix of several servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace.conformance import suite
from millrace.conformance.case import Level
from millrace.conformance.suite import Outcome, Result

MARKS = {Outcome.PASSED: "ok", Outcome.FAILED: "FAILED", Outcome.NOT_APPLICABLE: "-"}


def line(result: Result) -> str:
    """One case as it is asked."""
    first = f"{MARKS[result.outcome]:<7}{result.case.level.value:<10}{result.case.name:<26}{result.case.about}"
    return f"{first}\n{'':17}{result.detail}" if result.outcome is Outcome.FAILED else first


def summary(results: Sequence[Result]) -> str:
    """Counts by level, and one sentence."""
    lines = []
    for level, found in suite.counts(results).items():
        told = ", ".join(f"{found[outcome]} {outcome.value}" for outcome in Outcome if found[outcome])
        lines.append(f"{level.value:<10}{told}")
    verdict = "speaks" if suite.conforms(results) else "does not speak"
    return "\n".join([*lines, f"The server {verdict} the Open Inference Protocol v2 over REST."])


def matrix(servers: Mapping[str, Sequence[Result]]) -> str:
    """Markdown: a row for each case, a column for each server, and the failures in words."""
    names = list(servers)
    lines = [_row("case", "asked by", *names), _row(*["---"] * (len(names) + 2))]
    for results in zip(*servers.values(), strict=True):
        marks = (MARKS[result.outcome].replace("FAILED", "**no**") for result in results)
        lines.append(_row(results[0].case.about.replace("|", "\\|"), results[0].case.level.value, *marks))
    lines.append(_row("passed, of those that apply", "", *(_passed(results) for results in servers.values())))
    for level in Level:
        passed = (_passed([one for one in results if one.case.level is level]) for results in servers.values())
        lines.append(_row(f"of these, asked by {level.value}", "", *passed))
    return "\n".join([*lines, "", *_failures(servers)])


def _failures(servers: Mapping[str, Sequence[Result]]) -> list[str]:
    lines = []
    for name, results in servers.items():
        failed = [one for one in results if one.outcome is Outcome.FAILED]
        if failed:
            lines += [f"What {name} answered instead:", ""]
            lines += [f"* {one.case.name}: {_inline(one.detail)}" for one in failed]
            lines.append("")
    return lines


def _inline(detail: str) -> str:
    return "`" + detail.replace("`", "'")[:160] + "`"


def _passed(results: Sequence[Result]) -> str:
    applicable = [one for one in results if one.outcome is not Outcome.NOT_APPLICABLE]
    return f"{sum(one.outcome is Outcome.PASSED for one in applicable)} of {len(applicable)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
