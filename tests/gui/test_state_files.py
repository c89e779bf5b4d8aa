"""What is kept between two starts: whole, or set aside, never lost."""

import dataclasses
import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from gui import settings
from gui.estimate import Estimator
from gui.library import Library, on_disk
from gui.queue import Queue
from gui.settings import Preferences
from i2v_mlx.errors import I2VError
from i2v_mlx.request import Request

DAMAGED = [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"7", b"null x", json.dumps([{"id": 1}]).encode()]


def test_preferences_come_back(tmp_path):
    file = tmp_path / "preferences.json"
    assert settings.load(file) == (Preferences(), None)
    mine = Preferences(model="demo", playback_fps=12.5, hide_prompts=True, window="AAA=", seed_mode="next")
    settings.save(file, mine)
    assert settings.load(file) == (mine, None)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_preferences_are_set_aside(tmp_path, content):
    file = tmp_path / "preferences.json"
    (tmp_path / "preferences.broken-1.json").write_text("an older one")
    file.write_bytes(content)
    preferences, notice = settings.load(file)
    assert preferences == Preferences() and "preferences.broken-2.json" in notice.hint
    assert (tmp_path / "preferences.broken-2.json").read_bytes() == content and not file.exists()


def test_single_senseless_values_cost_only_themselves(tmp_path):
    file = tmp_path / "preferences.json"
    file.write_text(json.dumps({"model": "demo", "playback_fps": "fast", "appearance": "pink", "sound": 1,
                                "newer": True, "seed_mode": "locked"}))
    assert settings.load(file) == (Preferences(model="demo", seed_mode="locked"), None)


def test_a_folder_that_cannot_be_written_is_an_error_and_not_a_crash(tmp_path):
    with pytest.raises(I2VError) as caught:
        settings.save(tmp_path / "gone" / "preferences.json", Preferences())
    assert caught.value.code == "output_unwritable"


def test_the_queue_comes_back_in_order_with_its_states(qapp, tmp_path):
    file = tmp_path / "queue.json"
    queue = Queue(file)
    first, second, third = (queue.add(Request("a.png", prompt), 8.0) for prompt in ("one", "two", "three"))
    queue.move(third.id, 0)
    queue.update(first, state="failed", code="not_finite", message="It broke.")
    queue.remove(second.id)
    again = Queue(file)
    assert [dataclasses.asdict(job) for job in again.jobs] == [dataclasses.asdict(job) for job in (third, first)]
    assert again.next_queued().request.prompt == "three" and again.running() is None and again.notice is None


def test_what_ran_when_the_app_died_is_paused_if_it_can_go_on(qapp, tmp_path):
    queue = Queue(tmp_path / "queue.json")
    there, gone = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    there.write_bytes(b"latents")
    for checkpoint in (there, gone):
        queue.update(queue.add(Request("a.png"), 8.0), state="running", checkpoint=str(checkpoint))
    resumable, lost = Queue(tmp_path / "queue.json").jobs
    assert resumable.state == "paused" and resumable.can_resume
    assert (lost.state, lost.code, lost.can_resume) == ("failed", "interrupted", False)


def test_removing_a_job_takes_its_checkpoint_but_never_a_running_one(qapp, tmp_path):
    queue = Queue(tmp_path / "queue.json")
    checkpoint = tmp_path / "a.safetensors"
    checkpoint.write_bytes(b"latents")
    job = queue.add(Request("a.png"), 8.0)
    queue.update(job, state="running", checkpoint=str(checkpoint))
    queue.remove(job.id)
    assert queue.jobs == [job] and checkpoint.exists()
    queue.update(job, state="paused")
    queue.remove(job.id)
    assert queue.jobs == [] and not checkpoint.exists()


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_queue_is_set_aside(qapp, tmp_path, content):
    file = tmp_path / "queue.json"
    file.write_bytes(content)
    queue = Queue(file)
    assert queue.jobs == [] and "queue.broken-1.json" in queue.notice.hint
    queue.add(Request("a.png"), 8.0)
    assert len(Queue(file).jobs) == 1


def test_a_queue_that_cannot_be_saved_says_so_once_and_goes_on(qapp, tmp_path):
    queue = Queue(tmp_path / "gone" / "queue.json")
    said = []
    queue.unsaved.connect(said.append)
    queue.add(Request("a.png"), 8.0)
    queue.add(Request("a.png"), 8.0)
    assert len(said) == 1 and len(queue.jobs) == 2


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_memory_of_speeds_is_set_aside(tmp_path, content):
    file = tmp_path / "estimates.json"
    file.write_bytes(content)
    estimator = Estimator(file)
    assert not estimator.estimate(Request()).learned
    estimator.learn(Request(), [1.0] * 50, 2.0, 0)
    assert Estimator(file).estimate(Request()).learned


@pytest.fixture
def library(qapp, tmp_path):
    made = []

    def make():
        (tmp_path / "clips").mkdir(exist_ok=True)
        made.append(Library(tmp_path / "library.db"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def add(library, tmp_path, name, prompt="", created=0.0):
    folder = tmp_path / "clips" / name
    folder.mkdir(exist_ok=True)
    return library.add(folder, "{}", Request("/photos/fox.jpg", prompt), 8.0, b"png", created)


def test_the_library_comes_back_newest_first(library, tmp_path):
    first = library()
    old, new = add(first, tmp_path, "a", "100% boats_", 1.0), add(first, tmp_path, "b", "a fox", 2.0)
    first.set_favourite(old.id, True)
    first.close()
    second = library()
    assert [clip.id for clip in second.clips()] == [new.id, old.id]
    assert [entry.id for entry in second.entries()] == [new.id, old.id]
    assert [entry.id for entry in second.entries("FOX")] == [new.id]
    assert [entry.id for entry in second.entries("100% boats_")] == [old.id] and second.entries("%_%") == []
    assert [entry.id for entry in second.entries(favourites=True)] == [old.id]
    assert second.thumbnail(old.id) == b"png" and second.thumbnail(99) == b""
    assert second.get(old.id) == dataclasses.replace(old, favourite=True)
    assert second.get(99) is None


def test_titles(library, tmp_path):
    shelf = library()
    for name, prompt in (("a", ""), ("b", "word " * 50), ("c", " \n two\nlines "), ("d", "w" * 10**5)):
        add(shelf, tmp_path, name, prompt, ord(name))
    assert [entry.title for entry in shelf.entries()] == ["w" * 60 + "…", "two lines", "word " * 11 + "word…", "fox"]


def test_a_folder_that_is_gone_is_noticed_and_noticed_when_it_is_back(library, tmp_path):
    shelf = library()
    clip = add(shelf, tmp_path, "a")
    clip.folder.rename(tmp_path / "elsewhere")
    look_around(shelf, tmp_path)
    assert shelf.get(clip.id).missing and shelf.entries()[0].missing
    (tmp_path / "elsewhere").rename(clip.folder)
    look_around(shelf, tmp_path)
    assert not shelf.get(clip.id).missing


def look_around(shelf, tmp_path):
    there = on_disk(shelf.folders().keys(), tmp_path / "clips")
    shelf.set_missing(there.missing)
    return list(there.unknown)


def test_a_list_of_thousands_is_there_at_once(library, tmp_path):
    """The window waits for it: 50 ms at 2,000 clips. The processor time of the best of three, for other programs may
    have it now and then; thumbnails and requests, which make it ten times as slow, are read one at a time."""
    shelf = library()
    request, picture = json.dumps(Request("/photos/fox.jpg", "boats sway on the waves").to_dict()), os.urandom(60_000)
    with shelf._writing():
        for number in range(2000):
            clip = shelf._database.execute(
                "INSERT INTO clips (folder, request, recipe, prompt, image, seed, fps, created) "
                "VALUES (?, ?, ?, 'boats', '/photos/fox.jpg', 7, 8.0, ?)", (f"/clips/{number}", request, "{}", number))
            shelf._database.execute("INSERT INTO thumbnails VALUES (?, ?)", (clip.lastrowid, picture))
    taken = []
    for _ in range(3):
        began = time.thread_time()
        entries = shelf.entries()
        taken.append(time.thread_time() - began)
    assert len(entries) == 2000 and entries[0].title == "boats" and entries[0].created == 1999
    assert min(taken) < 0.050
    assert shelf.thumbnail(entries[0].id) == picture


def test_deleting_goes_to_the_bin(library, tmp_path):
    shelf = library()
    clip = add(shelf, tmp_path, "a")
    (clip.folder / "x").write_text("frame")
    shelf.delete(clip.id)
    assert not clip.folder.exists() and shelf.clips() == []
    assert [path.read_text() for path in Path(os.environ["XDG_DATA_HOME"]).rglob("x")] == ["frame"]


def test_what_cannot_go_to_the_bin_stays(library, tmp_path, monkeypatch):
    monkeypatch.setattr("gui.library._to_bin", lambda folder: False)
    shelf = library()
    clip = add(shelf, tmp_path, "a")
    with pytest.raises(I2VError) as caught:
        shelf.delete(clip.id)
    assert caught.value.code == "bin_failed" and shelf.get(clip.id) == clip and clip.folder.is_dir()


@pytest.mark.parametrize("content", [b"no database" * 999, b"SQLite format 3\x00" + b"\x01" * 5000])
def test_a_damaged_library_is_set_aside_and_its_clips_are_listed(library, tmp_path, content):
    (tmp_path / "library.db").write_bytes(content)
    (tmp_path / "clips" / "a").mkdir(parents=True)
    (tmp_path / "clips" / ".a.123.part").mkdir()
    shelf = library()
    assert shelf.notice.code == "state_damaged" and shelf.clips() == []
    assert (tmp_path / "library.broken-1.db").read_bytes() == content
    assert look_around(shelf, tmp_path) == [tmp_path / "clips" / "a"]
    add(shelf, tmp_path, "a")
    assert look_around(shelf, tmp_path) == []


def test_the_last_changes_of_a_library_that_is_set_aside_are_kept_with_it(library, tmp_path):
    """What a crash left in the log beside the file."""
    shelf = library()
    shelf._database.execute("PRAGMA user_version = 9")
    shelf._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    add(shelf, tmp_path, "a")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in tmp_path.glob("library.db*"):
        (crashed / file.name).write_bytes(file.read_bytes())
    assert (crashed / "library.db-wal").stat().st_size
    Library(crashed / "library.db").close()
    with closing(sqlite3.connect(crashed / "library.broken-1.db")) as aside:
        assert aside.execute("SELECT image FROM clips").fetchall() == [("/photos/fox.jpg",)]


def test_a_library_that_another_program_has_locked_is_left_alone(library, tmp_path, monkeypatch):
    monkeypatch.setattr("gui.library._PATIENCE_S", 0.05)
    shelf = library()
    clip = add(shelf, tmp_path, "a")
    shelf.close()
    other = sqlite3.connect(tmp_path / "library.db")
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    here = library()
    assert here.notice.code == "library_unavailable" and here.entries() == []
    assert look_around(here, tmp_path) == [clip.folder]              # and so the clips are still seen
    add(here, tmp_path, "b")
    other.close()
    assert not list(tmp_path.glob("*broken*")) and library().clips() == [clip]


def test_a_damaged_file_that_cannot_be_moved_does_not_keep_the_app_from_starting(library, tmp_path, monkeypatch):
    """As on a disk that is mounted for reading only."""
    content = b"no database" * 999
    (tmp_path / "library.db").write_bytes(content)
    (tmp_path / "preferences.json").write_bytes(content)
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    shelf = library()
    add(shelf, tmp_path, "a")
    assert shelf.notice.code == "state_damaged" and len(shelf.entries()) == 1
    assert (tmp_path / "library.db").read_bytes() == content
    assert settings.load(tmp_path / "preferences.json")[0] == Preferences()
    assert (tmp_path / "preferences.json").read_bytes() == content


def test_a_library_of_a_newer_version_is_not_touched(library, tmp_path):
    with sqlite3.connect(tmp_path / "library.db") as database:
        database.execute("PRAGMA user_version = 9")
    database.close()
    before = (tmp_path / "library.db").read_bytes()
    assert library().notice is not None
    assert (tmp_path / "library.broken-1.db").read_bytes() == before


def test_an_entry_of_a_newer_version_stays(library, tmp_path):
    shelf = library()
    clip = add(shelf, tmp_path, "a")
    with shelf._writing():
        shelf._database.execute("UPDATE clips SET request = ? WHERE id = ?", (json.dumps({"dream": 1}), clip.id))
    assert shelf.clips() == [] and shelf.get(clip.id) is None
    assert [entry.title for entry in shelf.entries()] == ["fox"]     # its file can still be seen, and deleted
    assert look_around(shelf, tmp_path) == [] and Path(clip.folder).is_dir()
