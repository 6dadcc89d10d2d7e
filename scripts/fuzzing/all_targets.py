"""The list of all decoders that are fuzzed."""

from fuzzing import client_targets, file_targets, peer_targets
from fuzzing.targets import Target


def all_targets() -> dict[str, Target]:
    """By name, in an order that stays the same."""
    made = (*client_targets.targets(), *peer_targets.targets(), *file_targets.targets())
    return {target.name: target for target in made}
