"""Pure decisions: an Observation in, a Plan out. No clock, no network, no randomness.

One folder a kind: `dataset`, `training_run`, `model`, `deployment`. Beside them is what they share: `plan` is what a
decision may ask for, `status` how conditions and messages are made, `job` a Job and its pods as decisions see them.
"""
