"""What happens to a run when its checkpoints are damaged, or cannot be written."""

from pathlib import Path

import pytest
from helpers.toys import assert_equal, make_recognizer, records, run, start

from asr.errors import TrainError
from asr.train.checkpoint import Progress, load_checkpoint, newest_checkpoint, save_checkpoint
from asr.train.log import RunLog
from asr.train.loop import Outcome

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@pytest.fixture
def begun(tmp_path):
    """A run of two epochs, stopped after two of its six steps."""
    for _ in range(2):
        assert start(tmp_path, make_recognizer(), epochs=2, max_minutes=1e-9)[0] is Outcome.OUT_OF_TIME
    return tmp_path


def steps(folder):
    return [newest_checkpoint(folder / "c")[0].step, load_checkpoint(folder / "c" / "previous.pt")[0].step]


@pytest.mark.parametrize("damage", ["truncated", "empty", "overwritten", "missing"])
def test_the_checkpoint_before_a_damaged_one_is_used(begun, tmp_path_factory, capsys, damage):
    whole = tmp_path_factory.mktemp("whole")
    run(whole, make_recognizer(), epochs=2)
    assert steps(begun) == [2, 1]
    last = begun / "c" / "last.pt"
    contents = last.read_bytes()
    if damage == "missing":
        last.unlink()  # killed between two renames
    else:
        last.write_bytes({"truncated": contents[:-1000], "empty": b"", "overwritten": b"\0" * len(contents)}[damage])
    run(begun, make_recognizer(), epochs=2)
    for name in ("last.pt", "best.pt"):
        assert_equal(*(load_checkpoint(folder / "c" / name)[1]["model"] for folder in (whole, begun)))
    assert [(r["step"], r["loss"]) for r in records(begun, "step")] == [
        (r["step"], r["loss"]) for r in records(whole, "step")
    ]
    said = capsys.readouterr().err
    assert ("last.pt: damaged checkpoint" in said) == (damage != "missing")
    assert ("continuing from previous.pt" in said) == (damage != "missing")


def test_when_no_checkpoint_is_whole_both_are_named(begun):
    for name in ("last.pt", "previous.pt"):
        (begun / "c" / name).write_bytes(b"PK\3\4")
    both = r"last\.pt: damaged checkpoint .*; and .*previous\.pt: damaged checkpoint .*; delete .* to begin again"
    with pytest.raises(TrainError, match=both):
        start(begun, make_recognizer(), epochs=2)
    assert (begun / "c" / "last.pt").exists()


def test_another_version_is_not_taken_for_damage(begun, monkeypatch):
    monkeypatch.setattr("asr.train.checkpoint.FORMAT_VERSION", 2)
    with pytest.raises(TrainError, match="format version 1, this asr reads 2"):
        start(begun, make_recognizer(), epochs=2)


@FULL
def test_a_full_disk_leaves_the_old_checkpoint(begun):
    """The file that is written first leads to a device that is always full."""
    folder = begun / "c"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    said = r"last\.pt: could not be written: No space left on device; the checkpoint bef"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asr.util.files.token_hex", lambda _: "known")
        (folder / "last.known.part").symlink_to("/dev/full")
        with pytest.raises(TrainError, match=said):
            start(begun, make_recognizer(), epochs=2)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after.pop("best.pt")  # of the epoch's end, where the first save failed
    assert after == before
    assert start(begun, make_recognizer(), epochs=2)[0] is Outcome.FINISHED


@FULL
def test_a_full_disk_stops_the_log_with_one_line(tmp_path):
    log = RunLog(tmp_path, 1)
    with log.opened(0):
        log._file.close()
        log._file = open("/dev/full", "a")  # noqa: SIM115
        with pytest.raises(TrainError, match=r"metrics\.jsonl: could not be written: No space left on device"):
            log.write("step", 1, loss=1.0)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "c").write_text("a file")
    with pytest.raises(TrainError, match=r"c/last\.pt: could not be written: (File exists|Not a directory)"):
        save_checkpoint(tmp_path / "c" / "last.pt", Progress(), {})
