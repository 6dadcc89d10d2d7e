"""The short form of scripts/fuzz for the decoders, and that the fuzzer itself finds what it is for:
an undocumented error, an input that takes too long or too much memory, a crash, a hang."""

import os
import random
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fuzzing import decoding, session, worker
from fuzzing.all_targets import all_targets
from fuzzing.decoding import Finding, input_of
from fuzzing.mutation import INPUT_BYTES_MAX, PARTS_MAX, Mutator, Parts
from fuzzing.targets import Broken, Target, check
from hypothesis import given, settings
from hypothesis import strategies as st

TARGETS = all_targets()
INPUTS = int(os.environ.get("METASTORE_FUZZ_INPUTS", "150"))  # to each decoder
SEED = int(os.environ.get("METASTORE_FUZZ_SEED", "1"))
SEEDS: tuple[Parts, ...] = ((b"\x93\x01\xa3two\xc4\x05three", b"text"), (b"",), (b"[[a]]\nb = 1",))


def broken(decode: Callable[[Parts], Any], **more: Any) -> Target:
    return Target("a decoder", SEEDS, decode, (ValueError,), **more)


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_accepts_what_is_valid(name: str) -> None:
    assert all(check(TARGETS[name], parts) for parts in TARGETS[name].seeds)


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_keeps_to_its_rules_whatever_comes(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    for number in range(INPUTS):
        try:
            check(TARGETS[name], input_of(TARGETS[name], SEED, number))
        except Broken as finding:
            pytest.fail(f"{finding} (input {number} of seed {SEED})")


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(TARGETS)), parts=st.lists(st.binary(), min_size=1, max_size=4))
def test_decoders_keep_to_their_rules_with_bytes_of_chance(name: str, parts: list[bytes]) -> None:
    check(TARGETS[name], tuple(parts))


FROM_SOCKETS = ("client frame", "request", "member request", "status question", "raft messages")


@pytest.mark.parametrize("name", FROM_SOCKETS)
def test_heads_that_promise_more_than_follows_take_no_memory(name: str) -> None:
    """Each of 500 nested arrays promises 100,000 elements: 400 MB for who believes it (msgpack
    before 1.2.4 does)."""
    bomb = (b"\xdd\x00\x01\x86\x9f" * 500).ljust(100_000, b"\xc0")
    tracemalloc.start()
    try:
        check(TARGETS[name], (bomb,))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20


def test_inputs_follow_from_the_seed_and_are_bounded() -> None:
    target = TARGETS["client frame"]
    made = [input_of(target, 5, number) for number in range(500)]
    assert made == [input_of(target, 5, number) for number in range(500)]
    assert made != [input_of(target, 6, number) for number in range(500)]
    assert len(set(made)) > 300
    large = Mutator(random.Random(1))
    for _ in range(20):
        parts = large.mutate((b"x" * INPUT_BYTES_MAX,) * PARTS_MAX)
        assert sum(map(len, parts)) <= INPUT_BYTES_MAX
        assert len(parts) <= PARTS_MAX


def test_a_good_part_of_the_changed_frames_is_still_accepted_and_most_are_not() -> None:
    target = TARGETS["client frame"]
    accepted = sum(check(target, input_of(target, 1, number)) for number in range(1000))
    assert 20 < accepted < 500


def test_a_log_whose_snapshot_can_have_no_next_entry_is_damaged() -> None:
    """Found by the first long run: an OverflowError of struct in place of StorageDamaged."""
    hard_state, _, *entries = TARGETS["rocksdb log"].seeds[0]
    assert not check(TARGETS["rocksdb log"], (hard_state, b"\xff" * 16, *entries))


# --- what the fuzzer must notice


def test_an_undocumented_error_is_a_finding() -> None:
    with pytest.raises(Broken, match="raised KeyError"):
        check(broken(lambda parts: {}[parts]), (b"x",))
    assert not check(broken(lambda parts: int("x")), (b"x",))


def test_a_value_that_comes_back_as_another_is_a_finding() -> None:
    with pytest.raises(Broken, match="came back as"):
        check(broken(lambda parts: parts[0], encode=lambda value: (value + b"!",)), (b"x",))
    with pytest.raises(Broken, match="accepted"):
        check(broken(lambda parts: parts[0], encode=lambda value: value.wrong), (b"x",))


def test_an_input_that_takes_too_long_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "INPUT_CPU_S_MAX", 0.0)
    with pytest.raises(Broken, match="took"):
        worker.try_one(broken(lambda parts: sum(range(10_000))), 1, 0)


def test_an_input_that_takes_too_much_memory_is_a_finding() -> None:
    """In a process of its own: the peak of this one may be higher than what is taken here."""
    code = (
        "from fuzzing import worker; from fuzzing.targets import Target\n"
        "target = Target('a decoder', ((b'x',),), lambda parts: len(b'x' * (200 << 20)))\n"
        "worker.try_one(target, 1, 0)"
    )
    scripts = Path(decoding.__file__).parent.parent
    path = os.pathsep.join((str(scripts), *sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "MiB of memory" in done.stderr


def test_memory_that_grows_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter((100.0, 100.0 + worker.GROWTH_MIB_MAX + 1))
    monkeypatch.setattr(worker, "_memory_mib", lambda: next(readings))
    monkeypatch.setattr(worker, "WARM_UP", 0.0)
    target = broken(lambda parts: parts)
    state = bytearray(decoding.STATE.size)
    with pytest.raises(Broken, match="grew by 49 MiB"):
        worker.run([target], 0.01, 1, state)  # type: ignore[arg-type]


@pytest.fixture
def as_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Runs one of these texts in place of the worker; the place and the number are 0 and 7."""

    def run(text: str) -> None:
        folder = tmp_path / "fuzzing"
        folder.mkdir(exist_ok=True)
        (folder / "worker.py").write_text(
            "import mmap, os, signal, struct, sys, time\n"
            "state = mmap.mmap(int(sys.argv[4]), 32)\n"
            "state[:] = struct.pack('<QQQQ', 0, 7, 40, 3)\n" + text
        )
        monkeypatch.setattr(decoding, "SCRIPTS", tmp_path)
        decoding.run({"client frame": TARGETS["client frame"]}, 5.0, 1, tmp_path / "found")

    return run


def test_a_crash_is_a_finding_with_its_input(as_worker: Callable[[str], None]) -> None:
    with pytest.raises(Finding, match=f"ended with -{int(signal.SIGSEGV)}") as caught:
        as_worker("os.kill(os.getpid(), signal.SIGSEGV)")
    assert caught.value.path is not None
    found = decoding.read_input(caught.value.path)
    assert found == ("client frame", input_of(TARGETS["client frame"], 1, 7))


def test_a_hang_is_a_finding_with_its_input(
    as_worker: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "HANG_S", 0.5)
    with pytest.raises(Finding, match="no end") as caught:
        as_worker("time.sleep(600)")
    assert caught.value.path is not None


def test_what_the_worker_found_is_told(as_worker: Callable[[str], None]) -> None:
    with pytest.raises(Finding, match="it broke"):
        as_worker('print(\'{"what": "it broke"}\'); sys.exit(1)')


def test_a_run_without_findings_counts_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert session.fuzz(0.5, 1, "header", tmp_path) == session.NOTHING_FOUND
    said = capsys.readouterr().out
    assert "nothing found" in said
    assert "seed 1" in said


def test_an_input_can_be_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = decoding.write_input(tmp_path, TARGETS["identity"], 1, 0)
    assert session.replay(path) == session.NOTHING_FOUND
    assert "identity: accepted" in capsys.readouterr().out
    assert session.replay(tmp_path / "absent") == session.WRONG_ARGUMENTS
    path.write_bytes(b"nonsense")
    assert session.replay(path) == session.WRONG_ARGUMENTS
    assert session.fuzz(1, 1, "no such decoder", tmp_path) == session.WRONG_ARGUMENTS
