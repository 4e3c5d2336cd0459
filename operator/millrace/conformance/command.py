"""``millrace conformance URL``: which of the protocol's requirements does the server there meet?"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from millrace.conformance import report, suite
from millrace.conformance.case import Failed
from millrace.conformance.exchange import Exchange
from millrace.conformance.subject import Subject


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when everything passed that the protocol requires, 1 when not, 2 for a question that cannot be asked."""
    options = _parser().parse_args(arguments)
    try:
        subject = _subject(options)
    except (OSError, ValueError, Failed) as error:
        print(f"millrace conformance: {error}", file=sys.stderr)
        return 2
    results = suite.run(subject, lambda result: _told(result, options.verbose))
    print("\n" + report.summary(results))
    if options.json is not None:
        named = {"model": subject.model, "results": [result.to_dict() for result in results]}
        options.json.write_text(json.dumps(named, indent=2) + "\n")
    return 0 if suite.conforms(results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace conformance", description=__doc__)
    parser.add_argument(
        "url", help="of any server of the Open Inference Protocol v2, for example http://localhost:8080"
    )
    parser.add_argument("--model", help="name of the model; the only one of the server's index by default")
    parser.add_argument("--request", type=Path, help="JSON of a request that the model answers; made up by default")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="sent with every request")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for one answer (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what does not apply, and why")
    return parser


def _subject(options: argparse.Namespace) -> Subject:
    pairs = [header.partition(":") for header in options.header]
    headers = {name.strip(): value.strip() for name, _, value in pairs}
    exchange = Exchange(options.url, headers, options.timeout)
    given = None if options.request is None else json.loads(options.request.read_text())
    if given is not None and not (isinstance(given, dict) and given.get("inputs")):
        raise ValueError(f"{options.request}: expected an inference request with inputs")
    return Subject(exchange, options.model or _only_model(exchange), given)


def _only_model(exchange: Exchange) -> str:
    """The one model that the index lists. Raises ValueError and Failed."""
    answer = exchange.call("POST", "v2/repository/index", b"{}", {"content-type": "application/json"})
    listed: Any = answer.json() if answer.status == 200 else None
    names = sorted({str(entry["name"]) for entry in listed}) if isinstance(listed, list) else []
    if len(names) != 1:
        raise ValueError(f"which model? Add --model NAME{'' if not names else ', one of ' + ', '.join(names)}")
    return names[0]


def _told(result: suite.Result, verbose: bool) -> None:
    if result.outcome is not suite.Outcome.NOT_APPLICABLE:
        print(report.line(result), flush=True)
    elif verbose:
        print(f"{report.line(result)} ({result.detail})", flush=True)
