"""What people do, from the drop to the file, with the fake worker and no window."""

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QUrl

from gui.export import ExportOptions
from i2v_mlx import frames


def drop(session, *paths):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    session.drop(mime)


def set_up(session, qtbot, photo, **fields):
    """A picture in the draft and few, quick steps."""
    drop(session, photo)
    qtbot.waitUntil(lambda: session.picture.image is not None, timeout=10_000)
    session.draft.change(num_inference_steps=4, num_frames=5, **fields)


def states(session):
    return [job.state for job in session.queue.jobs]


def clip_bytes(session):
    """The files of every clip, by name within the clip."""
    return {path.name.split("_")[-1]: path.read_bytes() for path in session.places.clips.rglob("*.png")}


@pytest.fixture
def wait_for_clip(qtbot):
    def wait(session):
        with qtbot.waitSignal(session.job_done, timeout=20_000) as done:
            pass
        return done.args

    return wait


def test_drop_generate_preview_done_export_recall(session, qtbot, photo, tmp_path):
    app = session({"step_seconds": 0.02})
    set_up(app, qtbot, photo, prompt="boats sway")
    previews, places = [], []
    app.runner.previewed.connect(lambda pixels: previews.append(pixels.copy()))
    app.player.position_changed.connect(places.append)

    with qtbot.waitSignal(app.job_done, timeout=20_000) as done:
        (job,) = app.generate()
        assert app.player.count == 0                       # the still, until there are pictures
        qtbot.waitUntil(lambda: app.player.is_preview, timeout=10_000)
        assert app.player.playing and app.player.frames.shape == (5, 4, 4, 3)
        app.player.pause()
        app.player.seek(3)
    assert len(previews) == 4
    clip = done.args[1]
    assert app.player.frames.shape == (5, 16, 16, 3) and not app.player.is_preview
    assert app.player.position == 3                        # no jump
    assert states(app) == ["done"] and job.clip == clip.id and app.shown == clip
    assert app.library.entries()[0].title == "boats sway" and clip.request.image == str(photo)
    assert app.progress is None and app.estimate.learned

    target = tmp_path / "boats.mp4"
    with qtbot.waitSignal(app.exporter.done, timeout=20_000):
        app.exporter.start(clip, target, ExportOptions(fps=16.0, boomerang=True))
    pixels, fps = frames.read_frames(target)
    assert len(pixels) == 8 and fps == 16.0                # 5 forth, 3 back
    assert np.abs(pixels[0].astype(int) - app.player.frames[0]).max() < 12

    app.draft.change(prompt="something else", num_inference_steps=9)
    drop(app, target)
    qtbot.waitUntil(lambda: app.draft.request.num_inference_steps == 4, timeout=10_000)
    assert app.draft.request.prompt == "boats sway" and app.draft.request.seed == clip.request.seed
    assert app.draft.request.image == str(photo)           # its bare name in the file, found beside it
    app.draft.undo_stack.undo()
    assert app.draft.request.prompt == "something else"
    app.recall(clip.id, {"prompt"})
    assert (app.draft.request.prompt, app.draft.request.num_inference_steps) == ("boats sway", 9)
    assert app.problems == []


def test_nothing_is_made_of_the_old_picture_while_a_new_one_opens(session, qtbot, photo, tmp_path):
    app = session({})
    set_up(app, qtbot, photo)
    large = tmp_path / "large.png"
    Image.linear_gradient("L").resize((6000, 4000)).save(large)
    drop(app, large)
    qtbot.waitUntil(lambda: app.picture.opening, timeout=10_000)
    assert app.generate() == [] and app.problems[0].code == "picture_loading"
    qtbot.waitUntil(lambda: app.draft.request.image == str(large) and not app.picture.loading, timeout=20_000)
    (job,) = app.generate()
    assert job.request.image == str(large)


def test_a_queue_of_three_with_a_cancel_in_the_middle(session, qtbot, photo):
    app = session({"step_seconds": 0.05})
    set_up(app, qtbot, photo, seed=7)
    app.draft.set_seed_mode("next")
    done = []
    app.job_done.connect(lambda job, clip: done.append(clip.request.seed))
    jobs = app.generate(takes=3)
    app.job_started.connect(lambda job: job is jobs[1] and app.cancel())
    assert app.draft.request.seed == 10
    qtbot.waitUntil(lambda: len(done) == 2, timeout=20_000)
    assert done == [7, 9] and states(app) == ["done", "cancelled", "done"]
    assert list(app.places.checkpoints.iterdir()) == []
    assert len(app.library.clips()) == len(list(app.places.clips.iterdir())) == 2


def test_a_crash_at_a_step_and_resume_give_the_same_bytes(session, qtbot, photo, wait_for_clip, tmp_path):
    app = session({"jobs": [{}, {"at": {"3": "crash"}}]}, {})
    set_up(app, qtbot, photo)
    app.draft.set_seed_mode("locked")
    app.generate()
    _, clip = wait_for_clip(app)
    whole = clip_bytes(app)
    app.library.delete(clip.id)
    assert whole and not clip_bytes(app)

    with qtbot.waitSignal(app.job_stopped, timeout=20_000):
        (job,) = app.generate()
    (problem,) = app.problems
    assert (problem.code, problem.job, problem.actions[0]) == ("engine_crashed", job.id, "resume")
    assert job.state == "failed" and job.step == 3 and job.can_resume
    assert app.player.is_preview                           # what was there is still to be seen
    app.act("resume", job.id)
    wait_for_clip(app)
    assert clip_bytes(app) == whole


def test_pause_quit_start_again_resume(session, qtbot, photo, wait_for_clip):
    app = session({"step_seconds": 0.05})
    set_up(app, qtbot, photo, prompt="boats", seed=3)
    app.draft.set_seed_mode("locked")
    job, waiting = app.generate(takes=2)
    app.queue.job_changed.connect(lambda _: job.step == 2 and not app.held and app.pause())
    with qtbot.waitSignal(app.job_stopped, timeout=20_000):
        pass
    assert states(app) == ["paused", "queued"] and app.held
    assert app.engine.state == "stopped"                   # the memory is free
    app.close()

    again = session({})
    assert [found.id for found in again.queue.jobs] == [job.id, waiting.id]
    assert states(again) == ["paused", "queued"] and again.held
    assert again.draft.request.prompt == "boats"
    with qtbot.waitSignals([again.job_done, again.job_done], timeout=20_000):
        again.resume()
    assert states(again) == ["done", "done"]
    first, second = [clip for clip in again.library.clips() if clip.request.seed == 3], again.library.clips()
    assert len(first) == 1 and len(second) == 2 and again.problems == []


def test_quitting_while_it_runs_is_a_pause(session, qtbot, photo):
    app = session({"step_seconds": 0.05})
    set_up(app, qtbot, photo)
    (job,) = app.generate()
    qtbot.waitUntil(lambda: job.step >= 1, timeout=10_000)
    app.close()
    again = session({}, start=False)
    assert states(again) == ["paused"] and again.queue.jobs[0].can_resume


def test_a_pause_before_the_first_step_begins_again_later(session, qtbot, photo, wait_for_clip):
    app = session({"step_seconds": 0.2})
    set_up(app, qtbot, photo)
    app.generate()
    app.pause()
    qtbot.waitUntil(lambda: app.engine.job is None, timeout=10_000)
    assert states(app) == ["queued"] and app.held
    app.resume()
    wait_for_clip(app)


def test_several_pictures_are_several_jobs(session, qtbot, photo, tmp_path):
    other = tmp_path / "fox.jpg"
    other.write_bytes(photo.read_bytes())
    app = session({})
    app.draft.change(prompt="it moves", num_inference_steps=2, num_frames=2)
    (tmp_path / "notes.txt").write_text("no picture")
    with qtbot.waitSignals([app.job_done, app.job_done], timeout=20_000):
        drop(app, photo, other, tmp_path / "notes.txt")
    assert [job.request.image for job in app.queue.jobs] == [str(photo), str(other)]
    assert app.notices == ["1 of the files are no pictures and were left out."]


def test_a_failed_job_does_not_stop_the_next(session, qtbot, photo, wait_for_clip):
    app = session({"jobs": [{"at": {"1": "fail:not_finite"}}, {}]})
    set_up(app, qtbot, photo)
    first, second = app.generate(takes=2)
    wait_for_clip(app)
    assert (first.state, first.code, second.state) == ("failed", "not_finite", "done")


def test_an_engine_that_does_not_start_holds_the_queue(session, qtbot, photo, wait_for_clip):
    app = session(*[{"at_start": "exit"}] * 3, {})
    qtbot.waitUntil(lambda: app.engine.state == "broken", timeout=10_000)
    set_up(app, qtbot, photo)
    app.generate()
    assert states(app) == ["queued"] and app.held
    assert len(app.problems) == 2 and app.problems[0] == app.problems[1]       # said again, for the bar may be closed
    assert app.problems[0].actions == ("restart_engine", "show_log")
    app.act("restart_engine")
    wait_for_clip(app)


def test_a_clip_may_be_looked_at_while_another_is_made(session, qtbot, photo, wait_for_clip):
    app = session({"step_seconds": 0.1})
    set_up(app, qtbot, photo)
    app.generate()
    _, clip = wait_for_clip(app)
    app.generate()
    app.show_clip(clip.id)
    qtbot.waitUntil(lambda: app.shown == clip, timeout=10_000)
    _, second = wait_for_clip(app)
    assert app.shown == clip and not app.player.is_preview
    app.show_clip(second.id)
    qtbot.waitUntil(lambda: app.shown == second, timeout=10_000)
    app.delete_clip(second.id)
    assert app.shown is None and app.player.count == 0 and not second.folder.exists()


def test_what_does_not_fit_is_refused_with_what_does(session, qtbot, photo):
    app = session({"hello": {"memory_bytes": 4 * 10**9, "models": ["i2vgen-xl"]}})
    qtbot.waitUntil(lambda: app.engine.state == "ready", timeout=10_000)
    assert app.draft.request.model == "i2vgen-xl"
    drop(app, photo)
    qtbot.waitUntil(lambda: app.picture.image is not None, timeout=10_000)
    app.draft.change(width=1280, height=704, num_frames=16)
    assert not app.estimate.fits and app.generate() == []
    (problem,) = app.problems
    assert problem.code == "would_not_fit" and problem.actions == ("smaller", "anyway")
    app.act("smaller")
    assert app.estimate.fits and app.draft.request.width < 1280
    app.draft.undo_stack.undo()
    app.act("anyway")
    assert len(app.queue.jobs) == 1


def test_a_lost_library_is_found_again_on_the_disk(session, qtbot, photo, wait_for_clip):
    app = session({})
    set_up(app, qtbot, photo, prompt="boats")
    app.generate()
    wait_for_clip(app)
    app.close()
    app.places.library.write_bytes(b"this is no database" * 1000)
    again = session({})
    qtbot.waitUntil(lambda: len(again.library.clips()) == 1, timeout=10_000)
    assert again.library.clips()[0].request.prompt == "boats"
    assert "library.broken-1.db" in again.notices[0]
    assert app.places.library.with_name("library.broken-1.db").read_bytes().startswith(b"this is no database")
