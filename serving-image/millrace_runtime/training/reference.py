"""The reference profile: what the train rows and the model's answers on them look like, in the server's bins."""

from __future__ import annotations

from typing import Any

from millrace.contract.profile import CATEGORICAL, FeatureHistogram, OutputHistogram, Profile, bins_for
from millrace.contract.report import Signature
from millrace_runtime.snapshot import histograms
from millrace_runtime.training.features import Layout, Tensors

MAX_OUTPUTS = 8


def profile(rows: Tensors, answers: Tensors, model: Layout, signature: Signature, classes: list[Any]) -> Profile:
    """Return the profile of all train rows, features in tensor order."""
    features = []
    most = bins_for(len(model.columns))
    for name, tensor, index in model.columns:
        values = rows[tensor][:, index]
        is_text = tensor == CATEGORICAL
        shape = histograms.categorical(values.tolist(), most) if is_text else histograms.numeric(values, most)
        features.append(FeatureHistogram(name=name, input=tensor, index=index, **shape))
    count = len(next(iter(rows.values())))
    return Profile(rows=count, features=tuple(features), outputs=_outputs(answers, signature, classes))


def _outputs(answers: Tensors, signature: Signature, classes: list[Any]) -> tuple[OutputHistogram, ...]:
    made: list[OutputHistogram] = []
    for described in signature.outputs:
        values = answers[described.name]
        if values.ndim == 1:
            made.append(OutputHistogram(name=described.name, output=described.name, **_label(values, classes)))
            continue
        # With two classes the second column says all; the first is its mirror.
        columns = [1] if classes and values.shape[1] == 2 else range(min(values.shape[1], MAX_OUTPUTS - len(made)))
        for column in columns:
            name = f"{described.name}.{classes[column]}" if classes else described.name
            shape = histograms.numeric(values[:, column])
            made.append(OutputHistogram(name=name, output=described.name, index=column, **shape))
    return tuple(made[:MAX_OUTPUTS])


def _label(values: Any, classes: list[Any]) -> dict[str, Any]:
    if classes:
        return histograms.categorical(values.tolist())
    return histograms.numeric(values)
