"""A configuration to try changes on, for the tests of changes. No test is in here."""

from metastore.node.raft.changes import Changer
from metastore.node.raft.configuration import Configuration
from metastore.node.raft.model import Change, ChangeType
from metastore.node.raft.progress import Progress

LETTERS = {
    "v": ChangeType.ADD_VOTER,
    "l": ChangeType.ADD_LEARNER,
    "r": ChangeType.REMOVE,
    "u": ChangeType.UPDATE,
}


def changes(text: str) -> list[Change]:
    return [Change(LETTERS[word[0]], int(word[1:])) for word in text.split()]


class Group:
    """A configuration in force with its progress; refused changes leave it as it was."""

    def __init__(self, text: str = "", last_index: int = 10) -> None:
        self.configuration = Configuration()
        self.progress: dict[int, Progress] = {}
        self.last_index = last_index
        for change in changes(text):
            self.take(self.changer.simple([change]))

    @property
    def changer(self) -> Changer:
        return Changer(self.configuration, self.progress, self.last_index, 256)

    def take(self, outcome: tuple[Configuration, dict[int, Progress]]) -> "Group":
        self.configuration, self.progress = outcome
        return self

    def simple(self, text: str) -> "Group":
        return self.take(self.changer.simple(changes(text)))

    def enter(self, text: str, auto_leave: bool = False) -> "Group":
        return self.take(self.changer.enter_joint(auto_leave, changes(text)))

    def leave(self) -> "Group":
        return self.take(self.changer.leave_joint())

    @property
    def learners_tracked(self) -> list[int]:
        return [node for node, peer in self.progress.items() if peer.is_learner]

    def __str__(self) -> str:
        return str(self.configuration)
