"""The Model that a successful run registers: immutable, and owned by nobody, so that history outlives its cause."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from millrace.api import keys
from millrace.api.model import ApprovalPolicy, Model, ModelSpec, Provenance
from millrace.api.refs import NameRef
from millrace.api.training_run import Candidate, ChampionRef, Resolved, TrainingRun
from millrace.render import metadata, names


def render(
    run: TrainingRun, resolved: Resolved, candidate: Candidate, version: int, *, is_checked: bool = True
) -> dict[str, Any]:
    """The manifest to POST; labels find it again by the run's UID.

    A run that no policy checked waives nothing: who wrote `required: 0` into it, nobody knows.
    """
    spec = _spec(run, resolved, candidate, version, is_checked=is_checked)
    return {
        "apiVersion": keys.API_VERSION,
        "kind": Model.model_fields["kind"].default,
        "metadata": {
            "name": names.model(run.spec.output.model_name, version),
            "namespace": run.metadata.namespace,
            "labels": metadata.labels(
                model_name=run.spec.output.model_name,
                training_run=run.metadata.name,
                training_run_uid=run.metadata.uid,
            ),
        },
        "spec": spec.wire(),
    }


def is_made_of(run: TrainingRun, spec: ModelSpec) -> bool:
    """Whether a Model says what the run's status has it say, with an approval policy no weaker than the run's."""
    known = run.status
    if known.resolved is None or known.candidate is None or not spec.version.isdecimal():
        return False
    wanted = _spec(run, known.resolved, known.candidate, int(spec.version), is_checked=known.admission != "Unchecked")
    asked, has = wanted.approval_policy, spec.approval_policy
    is_weaker = has.required < asked.required or (asked.distinct_from_author and not has.distinct_from_author)
    return not is_weaker and wanted == spec.model_copy(update={"approval_policy": asked, "approvals": wanted.approvals})


def _spec(run: TrainingRun, resolved: Resolved, candidate: Candidate, version: int, *, is_checked: bool) -> ModelSpec:
    asked = run.spec.output.approval_policy
    strict = ApprovalPolicy(required=max(1, asked.required), distinct_from_author=True)
    return ModelSpec(
        model_name=run.spec.output.model_name,
        version=str(version),
        artifact=candidate.artifact,
        signature=candidate.signature,
        provenance=Provenance(
            training_run_ref=NameRef(name=run.metadata.name),
            author=run.spec.author,
            applied_by=run.spec.applied_by,
            dataset=resolved.dataset,
        ),
        golden_set_uri=candidate.golden_set_uri,
        reference_profile_uri=candidate.reference_profile_uri,
        approval_policy=asked if is_checked else strict,
    )


def champion(name: str, digest: str, storage_uri: str) -> ChampionRef | None:
    """A reference to the serving version; None when its parts are none that can be pinned."""
    try:
        return ChampionRef(name=name, digest=digest, storage_uri=storage_uri)
    except ValidationError:
        return None


def reference(name: str) -> NameRef | None:
    """A reference by name; None when the API has no room for such a name."""
    try:
        return NameRef(name=name)
    except ValidationError:
        return None
