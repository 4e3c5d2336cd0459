"""Real ONNX files with golden set and profile, trained on data that ships with scikit-learn."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import numpy.typing as npt

from millrace.contract.golden import GoldenSet
from millrace.contract.profile import FeatureHistogram, OutputHistogram, Profile

Array = npt.NDArray[Any]
GOLDEN_ROWS = 64


@dataclass(frozen=True)
class Model:
    """The three files of a model, and rows to ask it about (`feeds` as onnxruntime takes them)."""

    onnx: bytes
    golden: GoldenSet
    profile: Profile
    feeds: dict[str, Array]

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.onnx).hexdigest()}"

    def write(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "model.onnx").write_bytes(self.onnx)
        (directory / "golden.json").write_text(self.golden.to_json())
        (directory / "profile.json").write_text(self.profile.to_json())
        return directory

    def rows(self, start: int, stop: int) -> dict[str, Any]:
        return request({name: array[start:stop] for name, array in self.feeds.items()})

    def expected(self, start: int, stop: int) -> list[Array]:
        return run(self.onnx, {name: array[start:stop] for name, array in self.feeds.items()})


def run(onnx: bytes, feeds: dict[str, Array]) -> list[Array]:
    """What onnxruntime answers in this process, with its default options."""
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def tensor(name: str, array: Array) -> dict[str, Any]:
    datatype = {"f": "FP", "i": "INT", "u": "UINT", "b": "BOOL", "O": "BYTES"}[array.dtype.kind]
    datatype += str(array.dtype.itemsize * 8) if array.dtype.kind in "fiu" else ""
    flat = array.reshape(-1).tolist()
    data = [None if isinstance(value, float) and not np.isfinite(value) else value for value in flat]
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": data}


def request(feeds: dict[str, Array]) -> dict[str, Any]:
    return {"inputs": [tensor(name, array) for name, array in feeds.items()]}


def golden_of(onnx: bytes, feeds: dict[str, Array], names: list[str]) -> GoldenSet:
    some = {name: array[:GOLDEN_ROWS] for name, array in feeds.items()}
    answers = run(onnx, some)
    outputs = [tensor(name, columns_of(array)) for name, array in zip(names, answers, strict=True)]
    return GoldenSet(request=request(some), response={"outputs": outputs})


def columns_of(answer: Any) -> Array:
    """An output as a tensor: maps from class to probability become columns."""
    return np.array([list(row.values()) for row in answer], np.float32) if isinstance(answer, list) else answer


def numeric_histogram(values: Array) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Edges at quantiles, and counts of the rows, the missing ones last."""
    present = values[~np.isnan(values)].astype(np.float64)
    edges = np.unique(np.quantile(present, np.linspace(0.1, 0.9, 9)))
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    return tuple(edges.tolist()), (*counts.tolist(), int(np.isnan(values).sum()))


def profile_of(feeds: dict[str, Array], names: dict[str, list[str]], outputs: list[OutputHistogram]) -> Profile:
    features = []
    for tensor_name, columns in names.items():
        for index, name in enumerate(columns):
            values = feeds[tensor_name][:, index]
            if values.dtype == object:
                labels = sorted(set(values) - {""})
                counts = [int((values == label).sum()) for label in (*labels, None, "")]
                features.append(
                    FeatureHistogram(
                        name=name,
                        input=tensor_name,
                        index=index,
                        kind="categorical",
                        labels=tuple(labels),
                        counts=tuple(counts),
                    )
                )
            else:
                edges, counted = numeric_histogram(values)
                features.append(
                    FeatureHistogram(
                        name=name, input=tensor_name, index=index, kind="numeric", edges=edges, counts=counted
                    )
                )
    rows = len(next(iter(feeds.values())))
    return Profile(rows=rows, features=tuple(features), outputs=tuple(outputs))


def export(pipeline: Any, types: list[tuple[str, Any]], **options: Any) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import skl2onnx

        model = skl2onnx.convert_sklearn(pipeline, initial_types=types, target_opset=17, options=options or None)
    return bytes(model.SerializeToString())


def classifier() -> Model:
    """Two classes, thirty numeric features (breast cancer)."""
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    matrix = data.data.astype(np.float32)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(matrix, data.target)
    onnx = renamed(
        export(pipeline, [("numeric", FloatTensorType([None, 30]))], zipmap=False),
        {"output_label": "label", "probabilities": "probabilities"},
    )
    feeds = {"numeric": matrix}
    outputs = [
        OutputHistogram(name="label", kind="categorical", labels=("0", "1"), counts=(212, 357, 0, 0)),
        OutputHistogram(
            name="probability of 1",
            output="probabilities",
            index=1,
            kind="numeric",
            edges=(0.25, 0.5, 0.75),
            counts=(200, 10, 10, 349, 0),
        ),
    ]
    profile = profile_of(feeds, {"numeric": [str(name) for name in data.feature_names]}, outputs)
    return Model(onnx, golden_of(onnx, feeds, ["label", "probabilities"]), profile, feeds)


def mixed_classifier() -> Model:
    """Three classes named by strings, numeric and categorical features, some missing (wine)."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.datasets import load_wine
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    data = load_wine()
    numeric = data.data[:, :6].astype(np.float32)
    numeric[::17, 2] = np.nan
    hue, colour = data.data[:, 10], data.data[:, 9]
    categorical = np.empty((len(hue), 2), dtype=object)
    categorical[:, 0] = np.where(hue > np.median(hue), "high", "low")
    categorical[:, 1] = np.where(colour > 5, "dark", "fair")
    categorical[::23, 1] = ""
    names = np.array(data.target_names)[data.target]
    columns = ColumnTransformer(
        [
            ("n", make_pipeline(SimpleImputer(), StandardScaler()), list(range(6))),
            ("c", OneHotEncoder(handle_unknown="ignore"), [6, 7]),
        ]
    )
    pipeline = Pipeline([("columns", columns), ("model", LogisticRegression(max_iter=500))])
    pipeline.fit(np.concatenate([numeric.astype(object), categorical], axis=1), names)
    types = [("numeric", FloatTensorType([None, 6])), ("categorical", StringTensorType([None, 2]))]
    onnx = renamed(export(pipeline, types, zipmap=False), {"output_label": "label", "probabilities": "probabilities"})
    feeds = {"numeric": numeric, "categorical": categorical}
    labels = tuple(sorted(set(names.tolist())))
    counts = tuple(int((names == label).sum()) for label in labels)
    outputs = [OutputHistogram(name="label", kind="categorical", labels=labels, counts=(*counts, 0, 0))]
    columns_of = {"numeric": [str(name) for name in data.feature_names[:6]], "categorical": ["hue", "colour"]}
    return Model(
        onnx, golden_of(onnx, feeds, ["label", "probabilities"]), profile_of(feeds, columns_of, outputs), feeds
    )


def zipmapped(named: bool) -> Model:
    """Three classes, by number or by name, whose probabilities are maps: skl2onnx's default for classifiers (iris)."""
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    data = load_iris()
    matrix = data.data.astype(np.float32)
    classes = np.array(data.target_names)[data.target] if named else data.target
    estimator = LogisticRegression(max_iter=500).fit(matrix, classes)
    names = {"output_label": "class", "output_probability": "classes"}
    onnx = renamed(export(estimator, [("numeric", FloatTensorType([None, 4]))]), names)
    feeds = {"numeric": matrix}
    profile = profile_of(feeds, {"numeric": list(data.feature_names)}, [])
    return Model(onnx, golden_of(onnx, feeds, ["class", "classes"]), profile, feeds)


def regressor(seed: int = 0) -> Model:
    """One number from ten (diabetes). Another seed is another model: another digest, other answers."""
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import GradientBoostingRegressor

    data = load_diabetes()
    matrix = data.data.astype(np.float32)
    estimator = GradientBoostingRegressor(n_estimators=20, subsample=0.5, random_state=seed).fit(matrix, data.target)
    onnx = renamed(export(estimator, [("numeric", FloatTensorType([None, 10]))]), {"variable": "prediction"})
    feeds = {"numeric": matrix}
    edges, counts = numeric_histogram(np.asarray(run(onnx, feeds)[0]).reshape(-1))
    outputs = [OutputHistogram(name="prediction", kind="numeric", edges=edges, counts=counts)]
    profile = profile_of(feeds, {"numeric": list(data.feature_names)}, outputs)
    return Model(onnx, golden_of(onnx, feeds, ["prediction"]), profile, feeds)


def gather(seed: int = 0) -> Model:
    """The diabetes regressor's signature; a table look-up that fails when the first column is above 0.12.

    Sound on its golden set. Nothing in the graph is a fault switch: Gather is out of its table's range, as
    happens when a category that training never saw is looked up.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    good = regressor(seed)
    column = np.sort(good.feeds["numeric"][:, 0])
    table = np.linspace(50, 300, 121).astype(np.float32).reshape(-1, 1)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["numeric", "zero"], ["first"], axis=1),
            helper.make_node("Mul", ["first", "scale"], ["scaled"]),
            helper.make_node("Abs", ["scaled"], ["positive"]),
            helper.make_node("Cast", ["positive"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["prediction"], axis=0),
        ],
        "look-up",
        [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, [None, 10])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1])],
        [
            numpy_helper.from_array(np.array(0, dtype=np.int64), "zero"),
            numpy_helper.from_array(np.array(1000, dtype=np.float32), "scale"),
            numpy_helper.from_array(table, "table"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    onnx = model.SerializeToString()
    assert abs(column[0]) < 0.12
    return replace(good, onnx=onnx, golden=golden_of(onnx, good.feeds, ["prediction"]))


def graph(nodes: list[Any], constants: dict[str, Any], width: int = 2, double: bool = False) -> bytes:
    """A regressor of the given operators, from `numeric` [-1, width] to `prediction` [-1, 1]."""
    from onnx import TensorProto, checker, helper, numpy_helper

    kind = TensorProto.DOUBLE if double else TensorProto.FLOAT
    made = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("numeric", kind, [None, width])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def by_hand(onnx: bytes, feeds: dict[str, Array], names: list[str]) -> Model:
    return Model(onnx, golden_of(onnx, feeds, ["prediction"]), profile_of(feeds, {"numeric": names}, []), feeds)


def dated() -> Model:
    """What a date written 20240101 says of the day, which 32 bits do not hold: 1 for odd days, else 0."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Mod", ["numeric", "two"], ["odd"], fmod=1),
        helper.make_node("Cast", ["odd"], ["prediction"], to=TensorProto.FLOAT),
    ]
    days = 20240101.0 + np.arange(28).reshape(-1, 1)
    return by_hand(graph(nodes, {"two": np.array(2.0)}, 1, double=True), {"numeric": days}, ["day"])


def square() -> Model:
    """Memory for the square of the number of rows: 64 golden rows need 16 KiB, 100,000 rows 40 GB."""
    from onnx import helper

    nodes = [
        helper.make_node("Transpose", ["numeric"], ["turned"]),
        helper.make_node("MatMul", ["numeric", "turned"], ["all"]),
        helper.make_node("ReduceMean", ["all"], ["prediction"], axes=[1], keepdims=1),
    ]
    feeds = {"numeric": np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)}
    return by_hand(graph(nodes, {}), feeds, ["a", "b"])


def greedy(megabytes: int) -> Model:
    """So much memory for one row. The golden set is written down, not computed: it would take as much here."""
    from onnx import helper

    nodes = [
        helper.make_node("ReduceSum", ["numeric", "one"], ["row"], keepdims=1),
        helper.make_node("Expand", ["unit", "size"], ["wide"]),
        helper.make_node("Mul", ["row", "wide"], ["all"]),
        helper.make_node("ReduceMean", ["all"], ["prediction"], axes=[1], keepdims=1),
    ]
    constants = {"one": np.array([1]), "unit": np.ones((1, 1), np.float32), "size": np.array([1, megabytes * 2**18])}
    feeds = {"numeric": np.ones((1, 2), np.float32)}
    golden = GoldenSet(
        request=request(feeds), response={"outputs": [tensor("prediction", np.full((1, 1), 2.0, np.float32))]}
    )
    return Model(graph(nodes, constants), golden, profile_of(feeds, {"numeric": ["a", "b"]}, []), feeds)


def wide(columns: int) -> Model:
    """The mean of many features."""
    from onnx import helper

    feeds = {"numeric": np.random.default_rng(0).normal(size=(64, columns)).astype(np.float32)}
    nodes = [helper.make_node("ReduceMean", ["numeric"], ["prediction"], axes=[1], keepdims=1)]
    return by_hand(graph(nodes, {}, columns), feeds, [f"x{at}" for at in range(columns)])


def sequence() -> Model:
    """A regressor's signature whose output is a sequence of tensors, which the protocol cannot say."""
    from onnx import TensorProto, helper

    good = regressor()
    node = helper.make_node("SequenceConstruct", ["numeric", "numeric"], ["prediction"])
    inputs = [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, [None, 10])]
    outputs = [helper.make_tensor_sequence_value_info("prediction", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "sequence", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return replace(good, onnx=bytes(model.SerializeToString()))


def renamed(onnx_bytes: bytes, names: dict[str, str]) -> bytes:
    """The same graph with its outputs called as Millrace's evaluator calls them."""
    import onnx

    model = onnx.load_from_string(onnx_bytes)
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
        node.input[:] = [names.get(name, name) for name in node.input]
    for output in model.graph.output:
        output.name = names.get(output.name, output.name)
    return bytes(model.SerializeToString())


def dump(value: Any) -> bytes:
    return json.dumps(value).encode()
