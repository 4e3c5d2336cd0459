"""The demo's numbers mean what they say: a prediction counts only when it is the evaluated one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace_demo import further, measures, prediction
from millrace_demo.kubectl import Kubectl
from millrace_demo.timeline import Moment

GOLDEN: dict[str, Any] = {
    "request": {
        "inputs": [{"name": "numeric", "datatype": "FP32", "shape": [3, 2], "data": [None, None, 1.0, 2.0, 3.0, 4.0]}]
    },
    "response": {
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [3], "data": [0, 0, 1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [3, 2], "data": [0.9, 0.1, 0.8, 0.2, 0.3, 0.7]},
        ]
    },
    "tolerance": 1e-4,
    "rows": 3,
}


def answer(
    version: str = "1", label: int = 1, probabilities: tuple[float | None, float] = (0.3, 0.7)
) -> dict[str, Any]:
    outputs = [{"name": "label", "data": [label]}, {"name": "probabilities", "data": list(probabilities)}]
    return {"model_version": version, "outputs": outputs}


def test_the_last_golden_row_is_asked_for_alone():
    wanted = prediction.expectation("1", GOLDEN)
    assert wanted.request == {"inputs": [{"name": "numeric", "datatype": "FP32", "shape": [1, 2], "data": [3.0, 4.0]}]}
    assert [tensor["data"] for tensor in wanted.outputs] == [[1], [0.3, 0.7]]


def test_an_answer_is_correct_within_the_tolerance():
    assert prediction.expectation("1", GOLDEN).met_by(answer(probabilities=(0.30009, 0.69991)))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(answer(version="2"), id="of another version"),
        pytest.param(answer(label=0), id="another label"),
        pytest.param(answer(probabilities=(0.3002, 0.6998)), id="beyond the tolerance"),
        pytest.param(answer(probabilities=(None, 0.7)), id="not a number"),
        pytest.param({"model_version": "1", "outputs": answer()["outputs"][:1]}, id="an output short"),
        pytest.param({"error": "no"}, id="an error"),
    ],
)
def test_another_answer_is_not_correct(given: dict[str, Any]):
    assert not prediction.expectation("1", GOLDEN).met_by(given)


def test_time_runs_from_the_first_cause_to_the_first_effect_after_it():
    seen = [Moment(1.0, "promoted", "v1"), Moment(2.0, "shift", ""), Moment(9.5, "promoted", "v2")]
    assert measures.between(seen, "shift", "promoted") == 7.5
    assert measures.between(seen, "shift", "drift") is None
    assert measures.between(seen, "applied", "promoted") is None


def test_parts_add_up_to_the_whole():
    laps = measures.Laps()
    laps.end("one")
    laps.end("two")
    assert list(laps.seconds) == ["one", "two"]
    assert 0 <= sum(laps.seconds.values()) <= laps.total()


def test_the_last_line_has_one_clock_and_its_parts_add_up() -> None:
    laps = measures.Laps(seconds={"cluster": 30.0, "images": 2.0, "install": 13.0, "story": 158.0})
    said = measures.sentence(laps, measures.Footprint(63, 10, 1, 500), measures.Footprint(68, 330, 1, 500))
    assert said.startswith("203 s in all: 45 s for cluster, images and operator, 158 s for the story. ")
    assert said.endswith("of 330 events it took up half within 1 ms and 99 % within 500 ms")


def test_after_the_first_line_kubectl_is_typed_as_messages_write_it() -> None:
    kubectl = Kubectl(Path("/cache/kubernetes 1.36/kubectl"), Path("/var/kubeconfig"), "millrace-demo")
    first, *others, last = further.lines(kubectl, "visits", "make cluster-down")
    assert first == "export KUBECONFIG=/var/kubeconfig PATH='/cache/kubernetes 1.36':$PATH"
    assert all(line.startswith("kubectl -n millrace-demo ") for line in others)
    assert last.startswith("make cluster-down")
