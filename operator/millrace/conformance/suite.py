"""All cases against one server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from millrace.conformance import binary, errors, extensions, health, inference
from millrace.conformance.case import Case, Failed, Level, NotApplicable
from millrace.conformance.subject import Subject

CASES: Sequence[Case] = (
    *health.CASES.all,
    *inference.CASES.all,
    *binary.CASES.all,
    *extensions.CASES.all,
    *errors.CASES.all,
)
"""In this order; `still-there` is last."""


class Outcome(Enum):
    """Of one case."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "n/a"


@dataclass(frozen=True)
class Result:
    """A case, its outcome, and what was expected and what came."""

    case: Case
    outcome: Outcome
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For a file."""
        return {
            "case": self.case.name,
            "level": self.case.level.value,
            "requires": self.case.about,
            "source": self.case.source,
            "outcome": self.outcome.value,
            "detail": self.detail,
        }


def run(subject: Subject, told: Callable[[Result], None] = lambda _: None) -> list[Result]:
    """Ask everything; ``told`` hears of each result at once. Never raises for what a server answers."""
    results = []
    for case in CASES:
        results.append(_asked(case, subject))
        told(results[-1])
    return results


def conforms(results: Sequence[Result]) -> bool:
    """Whether nothing that the protocol itself requires failed."""
    return not any(one.outcome is Outcome.FAILED and one.case.level is Level.SPEC for one in results)


def counts(results: Sequence[Result]) -> dict[Level, Counter[Outcome]]:
    """Level -> outcome -> how many."""
    return {level: Counter(one.outcome for one in results if one.case.level is level) for level in Level}


def _asked(case: Case, subject: Subject) -> Result:
    try:
        case.ask(subject)
    except NotApplicable as why:
        return Result(case, Outcome.NOT_APPLICABLE, str(why))
    except Failed as why:
        return Result(case, Outcome.FAILED, str(why))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        # An answer of a shape that nobody foresaw is a wrong answer, not an end of the suite.
        return Result(case, Outcome.FAILED, f"expected the protocol's fields, got {type(error).__name__}: {error}")
    return Result(case, Outcome.PASSED)
