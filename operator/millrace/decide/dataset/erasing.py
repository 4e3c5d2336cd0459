"""Dataset: who still holds Ids that are to be forgotten.

A look tells which versions have them, and goes on telling it after their files are gone; which Models are of these is
seen at every pass. A Model of a version that no look knows may hold anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from millrace.api.base import Frozen
from millrace.api.conditions import Mark
from millrace.api.dataset import Dataset
from millrace.api.dataset_status import DatasetStatus
from millrace.api.erasure import ErasureStatus, HeldId, HeldVersion
from millrace.api.reasons.pipeline import DatasetReason as Reason
from millrace.contract.erasure import CLEAR_DIGITS, MOST_VERSIONS, ErasureReport
from millrace.decide import status
from millrace.render import erasure

ERASED = "Erased"
NORMAL = frozenset({Reason.Erased.name})
_MOST_MODELS, _NAMED = 32, 5
_CLEAR = len("sha256-") + CLEAR_DIGITS


class Descendant(Frozen):
    """A Model of one of the Dataset's versions, by the digest of that."""

    model: str
    digest: str


def told(report: ErasureReport | None, dataset: Dataset, *, is_without: bool) -> ErasureStatus | None:
    """What the status says after a look; `is_without`: the version that is now current has none of these Ids."""
    known, asked = dataset.status.erasure, dataset.spec.erasure
    if report is None or asked is None or report.list_digest != erasure.wanted(dataset):
        return known
    earlier = known.carried_out if known is not None else None
    full = {digest[: len(one.id)]: digest for one in report.held for digest in asked.ids if digest.startswith(one.id)}
    try:
        return ErasureStatus(
            list_digest=report.list_digest,
            carried_out=report.list_digest if is_without else earlier,
            ids=report.ids,
            rows=report.rows if report.rows is not None else known.rows if known is not None else 0,
            held_ids=report.held_ids,
            versions=tuple(
                HeldVersion(folder=folder, trained=at in report.trained, gone=at in report.gone)
                for at, folder in enumerate(report.versions[:32])
            ),
            held=tuple(
                HeldId(id=full[one.id], versions=_at(report.versions, (*one.trained, *one.tested)))
                for one in report.held[:20]
                if one.id in full
            ),
            clear=report.clear[:60],
            unread_versions=report.unread_versions,
            account_uri=report.account_uri or None,
        )
    except ValidationError:
        return known  # of an image that says it otherwise: nothing is claimed for it


def _at(folders: Sequence[str], places: Iterable[int]) -> tuple[str, ...]:
    return tuple(sorted(folders[at] for at in places if 0 <= at < len(folders))[:32])


def without(known: ErasureStatus | None, erased: Iterable[str]) -> ErasureStatus | None:
    """The same once nothing is left in these folders: a source that is not looked at again must not hide it.

    How many Ids are in the versions that are left, the next look counts; where none is left, there is none.
    """
    gone = {uri.rstrip("/").rpartition("/")[2] for uri in erased}
    if known is None or not gone & {one.folder for one in known.versions}:
        return known
    versions = tuple(one.model_copy(update={"gone": True}) if one.folder in gone else one for one in known.versions)
    is_all = len(versions) < MOST_VERSIONS and all(one.gone for one in versions)
    return known.model_copy(update={"versions": versions, "held_ids": 0 if is_all else known.held_ids})


def with_models(
    known: ErasureStatus | None, after: DatasetStatus, models: Sequence[Descendant]
) -> ErasureStatus | None:
    """The same with the numbers of the versions that are listed, and the Models that there are now."""
    if known is None:
        return None
    listed = (*after.versions, *(after.older_versions or ()), *((after.current,) if after.current is not None else ()))
    numbers = {_folder(one.digest): one.version for one in listed}
    folders = {one.model: _folder(one.digest) for one in models}
    trained = {one.folder for one in known.versions if one.trained}
    measured = {one.folder for one in known.versions} - trained
    clear = {f"sha256-{one}" for one in known.clear}
    if after.current is not None and known.carried_out == known.list_digest:
        clear.add(_folder(after.current.digest)[:_CLEAR])  # a look tells of the versions before its own
    unknown = [
        name for name, folder in folders.items() if folder not in trained | measured and folder[:_CLEAR] not in clear
    ]
    return known.model_copy(
        update={
            "versions": tuple(one.model_copy(update={"version": numbers.get(one.folder)}) for one in known.versions),
            "models": _models(folders, trained),
            "unknown_models": tuple(sorted(unknown)[:_MOST_MODELS]),
            "held": tuple(
                one.model_copy(update={"models": _models(folders, trained & set(one.versions))}) for one in known.held
            ),
        }
    )


def _models(folders: dict[str, str], among: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name, folder in folders.items() if folder in among)[:_MOST_MODELS])


def _folder(digest: str) -> str:
    return digest.replace(":", "-")[:23]


def mark(dataset: Dataset, known: ErasureStatus | None) -> Mark | None:
    """The condition Erased; None where nobody is to be forgotten."""
    asked = erasure.wanted(dataset)
    if asked is None:
        return None
    whom = {"namespace": dataset.metadata.namespace, "name": dataset.metadata.name}
    if known is None or known.carried_out != asked or known.list_digest != asked:
        return status.mark(ERASED, None, Reason.ErasurePending, status.message(Reason.ErasurePending, **whom))
    rows, ids = _counted(known.rows, "row"), _counted(known.ids, "Id")
    out = f"Left out of every version from now on: {ids} to be forgotten, {rows} of this source."
    left = _left(known)
    if not left:
        return status.mark(ERASED, True, Reason.Erased, f"{out} {Reason.Erased.sentence}")
    return status.mark(ERASED, False, Reason.StillHeld, status.message(Reason.StillHeld, f"{out} {left}", **whom))


def _left(known: ErasureStatus) -> str:
    """Who holds some, in clauses; nothing where nobody does."""
    there = [one for one in known.versions if not one.gone]
    numbers = [str(number) for number in sorted(one.version for one in there if one.version is not None)]
    older = sum(one.version is None for one in there)
    others = [f"{older} that status.versions does not list"] if older else []
    clauses = (
        (known.held_ids, f"{known.held_ids:,} still in the files of {_named('version', numbers, others)}"),
        (known.models, f"{_named('Model', known.models)} learnt from such rows"),
        (known.unread_versions, f"nobody can say whom {_counted(known.unread_versions, 'version')} may hold"),
        (known.unknown_models, f"nobody can say whom {_named('Model', known.unknown_models)} learnt from"),
    )
    said = "; ".join(clause for holds, clause in clauses if holds)
    return f"{said[0].upper()}{said[1:]}." if said else ""


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _named(word: str, names: Sequence[str], others: Sequence[str] = ()) -> str:
    """`Model churn-1`, `versions 1, 2 and 3`; the first few, and how many more."""
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    listed = [*names[:_NAMED], *more, *others]
    plural = "" if len(names) == 1 and not others else "s"
    return f"{word}{plural} {' and '.join(filter(None, [', '.join(listed[:-1]), *listed[-1:]]))}"
