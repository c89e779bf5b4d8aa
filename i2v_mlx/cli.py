"""``python -m i2v_mlx``: generate, estimate, calibrate, convert, download, models, info, doctor, worker.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Errors are one or two lines; a traceback goes to a file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import secrets
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any, NoReturn

from . import __version__, presets
from .errors import I2VError, printable
from .request import GRIDS, SAMPLERS, SEED_LIMIT, TIED, Request, unlisted

FAILED, USAGE, INTERRUPTED = 1, 2, 130
USAGE_CODES = ("_out_of_range", "_not_multiple_of_8", "_unknown", "prompt_missing", "image_missing", "weights_invalid")


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return args.run(args)
    except I2VError as error:
        return fail(error)
    except KeyboardInterrupt:
        print("interrupted; no file was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except Exception as error:  # noqa: BLE001 - the last line of defence: people get a sentence, the file the traceback
        return fail(_unexpected(error))


def fail(error: I2VError) -> int:
    """Says what is wrong and what to do next."""
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)
    return USAGE if error.code.endswith(USAGE_CODES) else FAILED


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m i2v_mlx", description="A picture and a prompt become a video.")
    parser.add_argument("--version", action="version", version=f"Livestill {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_generate(commands.add_parser("generate", help="make a video"))

    _add_estimate(commands.add_parser("estimate", help="what a video costs: arithmetic, time, memory"))

    calibrate = commands.add_parser("calibrate", help="find a model's own Draft and Balanced; hours for the real one")
    calibrate.add_argument("--model", default="i2vgen-xl", help="i2vgen-xl (default), demo, a folder or a hub name")
    calibrate.add_argument("--size", metavar="WxH", type=_size, help="default: 512x320, or the model's own")
    calibrate.add_argument("--frames", type=int, default=Request.num_frames)
    calibrate.set_defaults(run=_calibrate)

    from .convert import add_arguments

    convert = commands.add_parser("convert", help="write a model in this project's layout, optionally quantised")
    add_arguments(convert)
    convert.set_defaults(run=_convert)

    download = commands.add_parser("download", help="fetch the released model, 5.0 GB; carries on where it stopped")
    download.add_argument("model", nargs="?", default="i2vgen-xl", help="hub name (default: i2vgen-xl)")
    download.add_argument("--folder", metavar="DIR", help="where to (default: the hub library's cache)")
    download.add_argument("--json", action="store_true", help="events as lines of JSON on stdout")
    download.set_defaults(run=_download)

    models = commands.add_parser("models", help="which models are here; move or remove them")
    actions = models.add_subparsers(metavar="ACTION", required=True)
    actions.add_parser("list", help="what is here, and where").set_defaults(run=_list_models)
    move = actions.add_parser("move", help="to another folder, for example on another disk")
    move.add_argument("model", help="i2vgen-xl or a hub name")
    move.add_argument("folder", metavar="DIR", help="has to exist; the model gets a folder of its own in it")
    move.set_defaults(run=_move_model)
    remove = actions.add_parser("remove", help="delete a model's files, a broken-off download included")
    remove.add_argument("model", help="i2vgen-xl or a hub name")
    remove.set_defaults(run=_remove_model)

    info = commands.add_parser("info", help="what a video is and the recipe it carries")
    info.add_argument("file", metavar="FILE")
    info.set_defaults(run=_info)

    doctor = commands.add_parser("doctor", help="device, memory, versions, ffmpeg, and a test of every operation")
    doctor.set_defaults(run=_doctor)

    worker = commands.add_parser("worker", help="for the app: commands on stdin, events on stdout")
    worker.set_defaults(run=_worker)
    return parser


def _add_generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="the picture; not needed with --from")
    parser.add_argument("-o", "--output", required=True, help=".mp4, .mov, .gif, .webp, or a folder of .png")
    parser.add_argument("--from", dest="recipe", metavar="FILE", help="repeat the video FILE; other options change it")
    parser.add_argument("--model", help="i2vgen-xl (default), demo, a folder or a hub name")
    parser.add_argument("--prompt", help="what should happen")
    parser.add_argument("--negative-prompt", help="what should not")
    parser.add_argument("--size", metavar="WxH", type=_size, help="pixels, multiples of 8 (default: 1280x704)")
    parser.add_argument("--frames", dest="num_frames", type=int, help="default: 16")
    parser.add_argument("--preset", choices=presets.NAMES,
                        help="evaluations of the network: draft 13, balanced 26, best 100 (default: best)")
    parser.add_argument("--steps", dest="num_inference_steps", type=int, help="default: 50")
    parser.add_argument("--guidance", dest="guidance_scale", type=float, help="weight of the prompt (default: 9)")
    parser.add_argument("--fps", dest="target_fps", type=int, help="motion, a condition of the model (default: 16)")
    parser.add_argument("--playback-fps", type=float, help="frame rate of the file (default: 8)")
    parser.add_argument("--seed", type=int, help=f"0 to {SEED_LIMIT - 1} (default: a random one, which the file tells)")
    parser.add_argument("--eta", type=float, help="fresh noise in every step, 0 to 1 (default: 0)")
    parser.add_argument("--sampler", choices=SAMPLERS, help="default: ddim, the reference's")
    parser.add_argument("--grid", help=f"which timesteps: {', '.join(GRIDS)}, or themselves as 981,712,205,1 "
                        "(default: model)")
    parser.add_argument("--guidance-refresh", type=int, metavar="N",
                        help="in the second half, guidance anew in every Nth step only (default: 1)")
    parser.add_argument("--clip-skip", type=int, help="layers left out of the text encoder (default: 1)")
    parser.add_argument("--fidelity", choices=("diffusers", "original"), help="whose arithmetic (default: diffusers)")
    parser.add_argument("--decode-chunk", type=int, default=1, help="frames decoded together (default: 1)")
    parser.add_argument("--count", type=int, default=1, help="videos with this seed and the next ones (default: 1)")
    parser.set_defaults(run=_generate)


def _add_estimate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="i2vgen-xl", help="i2vgen-xl (default), demo, a folder or a hub name")
    parser.add_argument("--size", metavar="WxH", type=_size, default=(Request.width, Request.height))
    parser.add_argument("--frames", type=int, default=Request.num_frames)
    parser.add_argument("--preset", choices=presets.NAMES, default="best", help="default: best")
    parser.add_argument("--steps", type=int, help="default: the preset's")
    parser.add_argument("--chip", help="for example M4-Max (default: this machine)")
    parser.set_defaults(run=_estimate)


def _generate(args: argparse.Namespace) -> int:
    from . import engine, files
    from .progress import ProgressLine
    from .request import check_number

    check_number("count", args.count, 1, 1000)
    check_number("decode_chunk", args.decode_chunk, 1, 10_000)
    request, playback_fps = _request(args)
    runner = engine.Engine()
    if args.preset is not None:
        preset = runner.preset(request.model, args.preset)
        given = {name for name in preset.fields if getattr(args, name, None) is not None}
        values = {name: value for name, value in preset.fields.items() if name not in given}
        if given & TIED:
            own = unlisted(values.get("sampler", request.sampler))
            values |= {name: value for name, value in own.items() if name not in given}
        request = dataclasses.replace(request, **values)
        request.validate()
    if args.size is None and args.recipe is None:
        width, height = runner.own_size(request.model)
        request = dataclasses.replace(request, width=width, height=height)
    for take in engine.takes(request, args.count):
        output = Path(args.output)
        if args.count > 1:
            output = files.unused_path(output.with_name(f"{output.stem}-{take.seed}{output.suffix}"))
        progress = ProgressLine()
        run = runner.run(take, output, playback_fps, args.decode_chunk)
        try:
            for event in run:
                progress.show(event)
        finally:
            run.close()
            progress.close()
        print(output)
    return 0


def _estimate(args: argparse.Namespace) -> int:
    from . import estimate

    width, height = args.size
    request = Request(image="any", model=args.model, width=width, height=height, num_frames=args.frames)
    request.validate()
    return estimate.run(request, args.preset, args.steps, args.chip)


def _calibrate(args: argparse.Namespace) -> int:
    from . import calibrate, engine

    own = engine.Engine().own_size(args.model)
    width, height = args.size or (own if own != (Request.width, Request.height) else (512, 320))
    return calibrate.run(args.model, width, height, args.frames)


def _request(args: argparse.Namespace) -> tuple[Request, float]:
    """The request and the playback rate: what the recipe says, changed by the options that were given."""
    from . import recipe
    from .engine import PLAYBACK_FPS
    from .frames import read_recipe

    request, playback_fps = Request(seed=secrets.randbelow(SEED_LIMIT)), PLAYBACK_FPS
    if args.recipe is not None:
        made = read_recipe(args.recipe)
        if made is None:
            raise I2VError("recipe_missing", f"{args.recipe} carries no recipe.", "Only files made by Livestill do.")
        request, playback_fps = Request.from_dict(made["request"]), made["playback_fps"]
        image = args.image or str(recipe.find_image(made, Path(args.recipe)))
    else:
        image = args.image or ""
        if args.prompt is None:
            raise I2VError("prompt_missing", "There is no prompt.", "Say with --prompt what should happen.")
    given: dict[str, Any] = {
        field.name: value
        for field in dataclasses.fields(Request)
        if field.name != "image" and (value := getattr(args, field.name, None)) is not None
    }
    if args.size is not None:
        given["width"], given["height"] = args.size
    if request.weights and given.keys() & TIED:
        given = unlisted(given.get("sampler", request.sampler)) | given
    request = dataclasses.replace(request, image=image, **given)
    request.validate()
    return request, playback_fps if args.playback_fps is None else args.playback_fps


def _convert(args: argparse.Namespace) -> int:
    from . import convert

    return convert.run(args)


def _download(args: argparse.Namespace) -> int:
    from .download import download
    from .download_progress import follow, tell_failure

    try:
        folder = follow(download(args.model, args.folder), args.json)
    except KeyboardInterrupt:
        print("stopped; the same command carries on from here", file=sys.stderr)
        return INTERRUPTED
    except I2VError as error:
        if not args.json:
            raise
        tell_failure(error)
        return FAILED
    if not args.json:
        print(folder)
    return 0


def _list_models(args: argparse.Namespace) -> int:
    from . import models

    print("\n".join(models.describe()))
    return 0


def _move_model(args: argparse.Namespace) -> int:
    from . import models

    print(models.move(args.model, args.folder))
    return 0


def _remove_model(args: argparse.Namespace) -> int:
    from . import models
    from .download_progress import amount

    print(f"{amount(models.remove(args.model))} freed")
    return 0


def _info(args: argparse.Namespace) -> int:
    from . import frames

    video = frames.probe(args.file)
    shown = f"{args.file}: {video.width}x{video.height}, {video.frames} frames at {video.fps:g} fps, {video.codec}"
    made = frames.read_recipe(args.file)
    text = "no recipe" if made is None else json.dumps(made, indent=2, ensure_ascii=False)
    for line in (shown, *text.split("\n")):  # somebody else's text, perhaps
        print(printable(line))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from . import doctor

    return doctor.run()


def _worker(args: argparse.Namespace) -> int:
    from . import worker

    return worker.main()


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.lower().partition("x")
    if not cross or not width.isdecimal() or not height.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 512x320")
    return int(width), int(height)


def _unexpected(error: Exception) -> I2VError:
    with tempfile.NamedTemporaryFile("w", prefix="livestill-", suffix=".log", delete=False) as log:
        log.write("".join(traceback.format_exception(error)))
    return I2VError("unexpected", f"Something unexpected went wrong: {type(error).__name__}: {str(error)[:200]}",
                    f"The details are in {log.name}; please report them.")


def _terminate(signum: int, frame: Any) -> NoReturn:
    """A polite kill ends like Ctrl-C: files are cleaned up."""
    raise KeyboardInterrupt


