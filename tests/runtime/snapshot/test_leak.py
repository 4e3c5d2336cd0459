"""The leak test: no row of any test part was ever in a train part, over three versions of each real table.

By Id, else by features: all that two versions have in common. Rows are added, leave and come back, features are edited,
labels corrected, a column goes, one comes, one gets another type, and the fractions change.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from data_kit import versions
from data_kit.tables import TABLES

NEW = "came_later"
FRACTIONS = {"train": 0.6, "validation": 0.1, "test": 0.3}
MOST = 6000
"""Rows of a table: the largest two have thousands of rows with the same features among these too."""
MORE = {"train": 0.65, "validation": 0.1, "test": 0.25}


def edited(rows, column, chance):
    """A third of the rows with another value in one feature, a tenth with another's label."""
    changed = rows[column].where(chance.random(len(rows)) > 0.3, rows[column].to_numpy()[::-1])
    return rows.assign(
        **{column: changed, "label": rows.label.where(chance.random(len(rows)) > 0.1, rows.label.to_numpy()[::-1])}
    )


def schema(rows, has_id, ignored=(), types=None):
    label = "Float64" if rows.label.nunique() > 20 else "Int64"
    roles = {"label": "Label", "row": "Id" if has_id else "Ignore", **dict.fromkeys(ignored, "Ignore")}
    kinds = {name: "String" if rows[name].dtype == object else "Float64" for name in rows} | {
        "label": label,
        "row": "Int64",
    }
    fields = [
        {"name": name, "type": (types or {}).get(name, kinds[name]), "role": roles.get(name, "Feature")}
        for name in rows
    ]
    return {"mode": "Strict", "fields": fields}


def look(dataset, rows, **changes):
    for old in dataset.source.iterdir():
        old.unlink()
    (dataset.source / "a.parquet").write_bytes(rows.to_parquet(index=False))
    report = dataset.look(format="Parquet", **changes)
    assert report.outcome == "Frozen", report.message
    return report


@pytest.mark.parametrize("has_id", [True, False], ids=["by Id", "by features"])
@pytest.mark.parametrize("method", ["Random", "Stratified"])
@pytest.mark.parametrize("name", TABLES)
def test_no_row_of_a_test_part_was_ever_trained_on(dataset, name, method, has_id):
    chance = np.random.default_rng(7)
    rows = TABLES[name]()
    rows = rows.sample(min(len(rows), MOST), random_state=5).reset_index(drop=True)
    features = [column for column in rows if column != "label"]
    rows[features] = rows[features].astype("float64")
    rows = rows.assign(row=range(len(rows)))
    how = {"method": method, "seed": 3, "fractions": FRACTIONS} | ({"field": "label"} if method == "Stratified" else {})
    most = rows[chance.random(len(rows)) < 0.8]
    first = look(dataset, most, schema=schema(rows, has_id), split=how)
    second = look(
        dataset,
        edited(rows, features[0], chance).sample(frac=0.9, random_state=1),
        schema=schema(rows, has_id),
        split=how,
    )
    grown = pd.concat([rows, rows.assign(row=rows.row + len(rows), **{features[-1]: rows[features[-1]] + 1})])
    grown = grown.assign(**{NEW: chance.normal(size=len(grown)), "row": grown.row.map("{:06}".format)})
    last = schema(grown, has_id, ignored=[features[1]], types={features[2]: "Float32", "row": "String"})
    third = look(dataset, grown[grown.columns[::-1]], schema=last, split=how | {"fractions": MORE})
    reports = [versions.parts(report) for report in (first, second, third)]
    for number, version in enumerate(reports):
        for earlier in reports[: number + 1]:
            tested, trained = version["test"], earlier["train"]
            if has_id:
                assert not set(tested.row.astype(int)) & set(trained.row.astype(int))
            else:
                common = [one for one in features if one in tested and one in trained]
                assert not rounded(tested, common) & rounded(trained, common)


def rounded(rows, names):
    """Rows as a Float32 holds them: one of the columns becomes that."""
    held = np.ascontiguousarray(rows[names].to_numpy("float32") + np.float32(0))  # -0.0 is 0.0
    return set(held.view(f"V{held.strides[0]}").ravel().tolist())
