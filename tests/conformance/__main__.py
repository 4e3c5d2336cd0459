"""`make conformance`: the suite against our server, MLServer and KServe's, and the matrix of the three."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cluster"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "runtime" / "serving" / "kit"))

from serving_kit import models

from millrace.conformance import report, suite
from millrace.conformance.exchange import Exchange
from millrace.conformance.subject import Subject
from millrace_peers import servers

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks" / "results"
SIGNATURE = servers.Signature(
    inputs=[{"name": "numeric", "datatype": "FP32", "shape": [-1, 30]}],
    outputs=[
        {"name": "label", "datatype": "INT64", "shape": [-1]},
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
    ],
)
TITLE = "# Who speaks the Open Inference Protocol v2\n\n"
NOTES = """
* `ok`: as required; **no**: not; `-`: does not apply, for an extension is asked of those that announce it.
* Asked by: the protocol itself (`spec`); tritonclient and KServe's client (`client`); Triton's extensions
  (`extension`); callers who make mistakes (`robust`: a 4xx with an error object for what can never succeed).
* One ONNX file for all, a logistic regression with two outputs; each server in an environment of its own. MLServer and
  KServe have no ONNX runtime: they run the custom model their documentation asks for (`tests/peers`), which checks
  nothing that its server does not check. Corrections are welcome.
* Made by `make conformance`. `millrace conformance URL` asks any server the same.
"""


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    model = models.classifier()
    peers = [make() for name, make in _peers(model).items() if options.only is None or name in options.only.split(",")]
    found: dict[str, list[suite.Result]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for peer in peers:
            title = f"{peer.name} {peer.version}"
            print(f"\n== {title} ==", flush=True)
            with servers.running(peer, model, SIGNATURE, Path(scratch) / peer.name) as url:
                subject = Subject(Exchange(url, {}, 10.0), servers.NAME)
                found[title] = suite.run(subject, _silent if options.check else _tell)
            print("\n" + report.summary(found[title]))
    if options.check:
        return _compare(found)
    matrix = report.matrix(found)
    print("\n" + matrix)
    if options.only is None:
        _write(found, matrix)
    return 0 if suite.conforms(next(iter(found.values()))) else 1


def _peers(model: models.Model) -> dict[str, Callable[[], servers.Peer]]:
    return {"millrace": lambda: servers.millrace(model), "mlserver": servers.mlserver, "kserve": servers.kserve}


def _tell(result: suite.Result) -> None:
    print(report.line(result), flush=True)


def _silent(result: suite.Result) -> None:
    """What peers get wrong is published; a log of tests that says FAILED for it would mislead."""


def _compare(found: dict[str, list[suite.Result]]) -> int:
    """0 when the published outcomes are those of this run."""
    published = json.loads((RESULTS / "conformance.json").read_text())
    told = {(title, one["case"]): one["outcome"] for title, results in published.items() for one in results}
    got = {(title, one.case.name): one.outcome.value for title, results in found.items() for one in results}
    differing = [key for key in {**told, **got} if told.get(key) != got.get(key)]
    for title, case in differing:
        print(f"{title}, {case}: published {told.get((title, case))}, now {got.get((title, case))}")
    print("Next: make conformance" if differing else "The published matrix is what was found.")
    return 1 if differing else 0


def _write(found: dict[str, list[suite.Result]], matrix: str) -> None:
    (RESULTS / "conformance.md").write_text(TITLE + matrix.rstrip() + "\n" + NOTES)
    named = {title: [result.to_dict() for result in results] for title, results in found.items()}
    (RESULTS / "conformance.json").write_text(json.dumps(named, indent=2) + "\n")
    print(f"written: {RESULTS.relative_to(HERE.parents[1])}/conformance.md and .json")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("--only", help="of millrace,mlserver,kserve; writes no files")
    parser.add_argument("--check", action="store_true", help="compare with the published matrix in place of writing it")
    return parser


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
