"""Trains the demo model.  See README.md for the order of the stages and what they are for.

python train.py [--work DIR] autoencoder | text | copy | motion | export | report
"""

import argparse
import copy
import math
import random
import time
from pathlib import Path

import clips
import models
import torch
import torch.distributed
import torch.nn.functional as F
import words

HERE = Path(__file__).resolve().parent


class Run:
    """A network, its average and its optimiser, kept in one checkpoint file."""

    def __init__(self, path, net, rate, decay=0.995, parameters=None):
        self.path, self.net, self.rate, self.decay, self.step = Path(path), net, rate, decay, 0
        self.mean = copy.deepcopy(net).eval().requires_grad_(False)
        self.parameters = list(parameters if parameters is not None else net.parameters())
        self.optimiser = torch.optim.AdamW(self.parameters, lr=rate, betas=(0.9, 0.98), weight_decay=1e-4)
        self.losses, self.began, self.extra = [], time.time(), {}
        if self.path.exists():
            self.load()

    def load(self):
        state = torch.load(self.path, weights_only=False)
        self.net.load_state_dict(state["net"])
        self.mean.load_state_dict(state["mean"])
        if "optimiser" in state:
            try:
                self.optimiser.load_state_dict(state["optimiser"])
            except ValueError:
                print("optimiser state not used: other parameters are trained now")
        self.step, self.extra = state["step"], state.get("extra", {})
        print(f"resumed {self.path.name} at step {self.step}", flush=True)

    def save(self):
        part = self.path.with_suffix(".part")
        torch.save(
            {
                "net": self.net.state_dict(),
                "mean": self.mean.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "extra": self.extra,
            },
            part,
        )
        part.replace(self.path)

    def update(self, loss, factor=1.0):
        """One step; `factor` is the schedule's share of the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * factor * min(1.0, (self.step + 1) / 50)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if torch.distributed.is_initialized():
            average_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        decay = min(self.decay, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for mean, value in zip(self.mean.parameters(), self.net.parameters()):
                mean.lerp_(value, 1 - decay)
        self.losses.append(loss.item())

    def log(self, every, text=""):
        if self.step % every == 0:
            recent = self.losses[-every:]
            print(
                f"{self.path.stem} step {self.step} loss {sum(recent) / len(recent):.4f} {time.time() - self.began:.0f} s {text}",
                flush=True,
            )


def cosine(minutes, began, end=0.05):
    """Learning-rate factor from 1 to `end` over a time, not a number of steps: machines differ."""
    part = min(1.0, (time.time() - began) / (60 * minutes))
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * part)), part >= 1.0


def join(args):
    """Several processes of one training: each makes its own batches, the gradients are averaged.  One process with one
    thread uses a busy core better than threads that wait for each other."""
    if args.ranks > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{(args.work / 'rendezvous').resolve()}", rank=args.rank, world_size=args.ranks
        )


def average_gradients(parameters):
    used = [p for p in parameters if p.grad is not None]
    flat = torch.cat([p.grad.reshape(-1) for p in used])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for p, part in zip(used, flat.split([p.numel() for p in used])):
        p.grad.copy_(part.view_as(p))


def agree(done):
    """All processes stop together."""
    if not torch.distributed.is_initialized():
        return done
    flag = torch.tensor([float(done)])
    torch.distributed.all_reduce(flag)
    return flag.item() > 0


def psnr(a, b):
    return -10 * torch.log10(((a.clamp(0, 1) - b) ** 2).mean((-3, -2, -1)))


def unseen_frames():
    return torch.stack([clips.render(canvas, [(0, 0, 1)])[0] for _, canvas in clips.unseen_pictures()])


@torch.no_grad()
def ceiling(vae):
    """(photographs, drawn): mean PSNR of unseen pictures through the autoencoder."""
    frames = unseen_frames()
    z = vae.encode(frames * 2 - 1).latent_dist.mode()
    score = psnr(vae.decode(z).sample / 2 + 0.5, frames)
    return score[:10].mean().item(), score[10:].mean().item()


def train_autoencoder(args):
    pictures = clips.Pictures(args.seed + 1, photo_share=0.6)
    rng = pictures.rng
    net = models.autoencoder()
    models.start_as_average(net)
    run = Run(args.work / "autoencoder.pt", net, args.rate or 2e-3, decay=0.99)
    if args.decoder_only:
        run.parameters = [*net.decoder.parameters(), *net.post_quant_conv.parameters()]
    pool = []

    def fresh():
        scale = float(rng.uniform(0.8, 1.4))
        return clips.render(pictures.canvas(), [(rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1), scale)])[0]

    began = time.time()
    side = 48
    while True:
        factor, done = cosine(args.minutes, began)
        if done:
            break
        for _ in range(3 if len(pool) < 300 else 1):
            pool.append(fresh())
        pool = pool[-600:]
        batch = []
        for k in rng.integers(0, len(pool), args.batch or 16):
            y, x = rng.integers(0, clips.SIZE - side + 1, 2)
            batch.append(pool[k][:, y : y + side, x : x + side])
        x = torch.stack(batch) * 2 - 1
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            if args.decoder_only:
                with torch.no_grad():
                    posterior = net.encode(x).latent_dist
            else:
                posterior = net.encode(x).latent_dist
            y = net.decode(posterior.sample()).sample.float()
        error = y - x
        loss = error.abs().mean() + 2 * (error**2).mean()
        run.update(loss, factor)
        run.log(20)
        if run.step % 100 == 0:
            run.save()
            print("ceiling, photographs %.2f dB, drawn %.2f dB" % ceiling(run.mean), flush=True)
    if not args.decoder_only:  # scale the latents to unit variance
        with torch.no_grad():
            z = run.mean.encode(torch.stack(pool[-200:]) * 2 - 1).latent_dist.sample()
        run.extra["scaling"] = round(1 / z.std().item(), 5)
        print("scaling", run.extra, "channel std", z.std((0, 2, 3)), "mean", z.mean((0, 2, 3)))
    run.save()
    print("ceiling, photographs %.2f dB, drawn %.2f dB" % ceiling(run.mean), flush=True)


def text_states(encoder, ids, skip=1):
    """What the pipeline feeds the UNet: the last layer but `skip`, normalised."""
    layers = encoder(ids, output_hidden_states=True).hidden_states
    text = getattr(encoder, "text_model", encoder)  # transformers 4 and 5
    return text.final_layer_norm(layers[-1 - skip])


def tokenise(tokenizer, texts):
    return tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


def train_text(args):
    """The text encoder learns to name the camera move at every token from the end of the prompt on; then it stays fixed.
    The image encoder is left as it was drawn: a fixed random projection."""
    vocabulary = words.write_tokenizer(args.work / "tokenizer")
    tokenizer = words.load_tokenizer(args.work / "tokenizer")
    import numpy as np

    rng = np.random.default_rng(args.seed + 2)
    encoder = models.text_encoder(vocabulary)
    net = torch.nn.ModuleDict(
        {
            "encoder": encoder,
            "vision": models.image_encoder(),
            "read": torch.nn.Linear(models.WIDTH, len(clips.NAMES) + 1),
        }
    )
    run = Run(
        args.work / "text.pt",
        net,
        args.rate or 1e-3,
        parameters=[*net["encoder"].parameters(), *net["read"].parameters()],
    )
    end = vocabulary[words.END]
    began = time.time()
    while True:
        factor, done = cosine(args.minutes, began)
        if done:
            break
        moves = rng.integers(0, len(clips.NAMES) + 1, 32)
        texts = ["" if m == len(clips.NAMES) else clips.prompt(clips.NAMES[m], rng) for m in moves]
        ids = tokenise(tokenizer, texts)
        told = (ids == end).float()
        loss = 0
        for skip in (0, 1):
            logits = net["read"](text_states(encoder, ids, skip))
            wrong = F.cross_entropy(
                logits.transpose(1, 2), torch.as_tensor(moves)[:, None].expand(-1, 77), reduction="none"
            )
            loss = loss + (wrong * told).sum() / told.sum()
        run.update(loss, factor)
        right = (logits.argmax(-1)[:, -1] == torch.as_tensor(moves)).float().mean().item()
        run.log(50, f"right {right:.3f}")
    run.save()


def load_autoencoder(args):
    vae = models.autoencoder()
    state = torch.load(args.work / "autoencoder.pt", weights_only=False)
    vae.load_state_dict(state["mean"])
    return vae.eval().requires_grad_(False), state["extra"].get("scaling", 1.0)


def load_text(args):
    tokenizer = words.load_tokenizer(args.work / "tokenizer")
    encoder, vision = models.text_encoder(tokenizer.get_vocab()), models.image_encoder()
    state = torch.load(args.work / "text.pt", weights_only=False)["mean"]
    encoder.load_state_dict({k[8:]: v for k, v in state.items() if k.startswith("encoder.")})
    vision.load_state_dict({k[7:]: v for k, v in state.items() if k.startswith("vision.")})
    return tokenizer, encoder.eval().requires_grad_(False), vision.eval().requires_grad_(False)


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@torch.no_grad()
def image_embedding(vision, frames):
    small = F.interpolate(frames, (56, 56), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD))
    return vision((small - mean) / std).image_embeds


SHARES = {"left": 2, "right": 2, "up": 2, "down": 2, "in": 2, "out": 2, "still": 1, "gentle": 1}
FRAMES = 7  # of a stored clip: the picture and six later moments


@torch.no_grad()
def make_bank(args):
    """Endlessly (for --minutes) make clips and write their latents to WORK/bank, 32 clips a file, the oldest replaced."""
    folder = args.work / "bank"
    folder.mkdir(exist_ok=True)
    vae, scaling = load_autoencoder(args)
    _, _, vision = load_text(args)
    began, number = time.time(), args.seed * 100000
    while time.time() - began < 60 * args.minutes:
        pictures = clips.Pictures(1000 + number, photo_share=0.5)
        rng, made = pictures.rng, []
        shares = torch.tensor(list(SHARES.values()), dtype=torch.float64)
        for _ in range(32):
            move = list(SHARES)[rng.choice(len(SHARES), p=(shares / shares.sum()).numpy())]
            fps = 16 if rng.random() < 0.5 else int(rng.integers(8, 33))
            ramp = [0.0, *sorted(rng.random(FRAMES - 2)), 1.0]
            start = rng.uniform(-0.08, 0.08, 2)
            frames = clips.render(
                pictures.canvas(), [clips.camera(move, r, fps) for r in ramp], start=start, zoom0=rng.uniform(0.9, 1.3)
            )
            z = vae.encode(frames * 2 - 1).latent_dist.sample() * scaling
            made.append(
                {
                    "z": z.half(),
                    "ramp": torch.tensor(ramp, dtype=torch.float32),
                    "fps": fps,
                    "move": clips.NAMES.index(move),
                    "seen": image_embedding(vision, frames[:1])[0],
                }
            )
        part = folder / f"{args.seed}.part"
        torch.save(made, part)
        part.replace(folder / f"{args.seed}-{number % args.keep:04d}.pt")
        number += 1


class Bank:
    """The stored clips; looks for new files now and then."""

    def __init__(self, folder):
        self.folder, self.seen, self.files, self.looked = Path(folder), {}, {}, 0.0
        self.refresh()

    def refresh(self):
        if time.time() - self.looked < 30:
            return
        self.looked = time.time()
        for file in self.folder.glob("*.pt"):
            changed = file.stat().st_mtime
            if self.seen.get(file) != changed:
                self.files[file], self.seen[file] = torch.load(file, weights_only=False), changed
        self.clips = [clip for made in self.files.values() for clip in made]

    def batch(self, rng, count, frames, side):
        """`count` clips of the same number of frames, cut to side x side latents.  A zoom is cut around its centre."""
        self.refresh()
        z, ramp, fps, moves, seen = [], [], [], [], []
        for clip in rng.choices(self.clips, k=count):
            pick = [0, *sorted(rng.sample(range(1, FRAMES), frames - 1))]
            full = clip["z"].shape[-1]
            zooming = clips.NAMES[clip["move"]] in ("in", "out", "gentle")
            y, x = ((full - side) // 2,) * 2 if zooming else (rng.randint(0, full - side), rng.randint(0, full - side))
            z.append(clip["z"][pick, :, y : y + side, x : x + side].float())
            ramp.append(clip["ramp"][pick].float())
            fps.append(clip["fps"])
            moves.append(clip["move"])
            seen.append(clip["seen"])
        return torch.stack(z).transpose(1, 2), torch.stack(ramp), torch.tensor(fps), moves, torch.stack(seen)


def image_latents(z, ramp):
    """The pipeline's conditioning clip: the picture's latents, then frames that hold only how far the clip has got."""
    later = ramp[:, None, 1:, None, None].expand(-1, z.shape[1], -1, *z.shape[-2:])
    return torch.cat([z[:, :, :1], later], 2)


ENTRANCE = ("image_latents_proj_in", "image_latents_temporal_encoder", "conv_in", "transformer_in")


def entrance(net, x, condition):
    """The UNet up to the end of `transformer_in`."""
    b, c, f, h, w = condition.shape
    y = net.image_latents_proj_in(condition.transpose(1, 2).reshape(b * f, c, h, w))
    y = y.reshape(b, f, c, h, w).permute(0, 3, 4, 1, 2).reshape(b * h * w, f, c)
    y = net.image_latents_temporal_encoder(y).reshape(b, h, w, f, c).permute(0, 4, 3, 1, 2)
    y = torch.cat([x, y], 1).transpose(1, 2).reshape(b * f, 2 * c, h, w)
    return net.transformer_in(net.conv_in(y), num_frames=f, return_dict=False)[0]


def train_copy(args):
    """The entrance learns to hand every frame the picture's latents, the ramp and its own noisy latents, read out linearly."""
    torch.manual_seed(args.seed + 3)
    net = models.unet()
    models.start_as_identity(net)
    both = torch.nn.ModuleDict({"unet": net, "read": torch.nn.Conv2d(32, 9, 1)})
    parts = [p for name in ENTRANCE for p in getattr(net, name).parameters()]
    run = Run(args.work / "copy.pt", both, args.rate or 3e-3, parameters=[*parts, *both["read"].parameters()])
    bank, rng, began = Bank(args.work / "bank"), random.Random(args.seed), time.time()
    while True:
        factor, done = cosine(args.minutes, began)
        if done:
            break
        frames = rng.choice((2, 3, 4, 4, 7))
        z, ramp, *_ = bank.batch(rng, 24 // frames * 2, frames, 8)
        if rng.random() < 0.3:  # more frames than a stored clip has
            ramp = torch.cat([ramp, torch.rand(len(ramp), 9)], 1)
            frames += 9
        noise = torch.randn(len(z), 4, frames, 8, 8) * 0.9 + 0.5 * z[:, :, :1]
        condition = image_latents(z, ramp)
        found = both["read"](entrance(net, noise, condition)).reshape(len(z), frames, 9, 8, 8).transpose(1, 2)
        told = torch.cat(
            [noise, z[:, :, :1].expand_as(noise), 3 * ramp[:, None, :, None, None].expand(-1, 1, -1, 8, 8)], 1
        )
        error = ((found - told) ** 2).mean((0, 3, 4))
        run.update(error.mean(), factor)
        run.log(100, f"own {error[:4].mean():.4f} copied {error[4:8, 1:].mean():.4f} ramp {error[8].mean():.4f}")
    run.save()


def add_noise(schedule, z, t):
    a = schedule[t].reshape(-1, 1, 1, 1, 1)
    noise = torch.randn_like(z)
    return a.sqrt() * z + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * z


class Words:
    """Text states of many prompts of every move, computed once, and of the empty prompt."""

    def __init__(self, args, each=150):
        import numpy as np

        tokenizer, encoder, _ = load_text(args)
        rng = np.random.default_rng(args.seed + 4)
        with torch.no_grad():
            self.of = [
                torch.cat(
                    [
                        text_states(encoder, tokenise(tokenizer, [clips.prompt(name, rng) for _ in range(50)]))
                        for _ in range(each // 50)
                    ]
                )
                for name in clips.NAMES
            ]
            self.none = text_states(encoder, tokenise(tokenizer, [""]))[0]

    def batch(self, moves, rng):
        return torch.stack([rng.choice(self.of[m]) for m in moves])


class FlowReaders(torch.nn.Module):
    """A help in training, not part of the model: at two places on the UNet's way up, a linear read-out of where each cell's
    content comes from.  Without it the directions took many thousand steps to get from the words to the finest level."""

    def __init__(self, net):
        super().__init__()
        self.read = torch.nn.ModuleList([torch.nn.Conv2d(64, 2, 1), torch.nn.Conv2d(64, 2, 1)])
        self.seen = [None, None]
        for k in range(2):
            net.up_blocks[k].register_forward_hook(lambda module, given, out, k=k: self.seen.__setitem__(k, out))

    def loss(self, moves, ramp, fps, cells, side):
        true = torch.stack(
            [
                torch.stack([clips.flow(clips.NAMES[m], float(r), float(f), cells, side) for r in row])
                for m, row, f in zip(moves, ramp, fps)
            ]
        )
        total = 0
        for read, seen in zip(self.read, self.seen):
            want = true.flatten(0, 1)
            if seen.shape[-1] != side:
                want = F.avg_pool2d(want, side // seen.shape[-1])
            total = total + ((read(seen) - want) ** 2).mean()
        return total


def guided(net, on, x, v, t, fps, condition, none, drop):
    """The guided answer and its error.  Guidance multiplies the difference of the two branches, and as the branch without
    words cannot know the motion that difference is large: trained the usual way, a clip gets ghosts of eight times its
    strength.  So the *guided* answer is what has to be right at GUIDANCE; the branch with words is then a ninth of the way."""
    with torch.no_grad():
        off = net(
            x, t, fps, condition, x.new_zeros(len(x), 1, models.WIDTH), none.expand(len(x), -1, -1), return_dict=False
        )[0]
    answer = torch.where(drop.reshape(-1, 1, 1, 1, 1), on, off + GUIDANCE * (on - off))
    weight = torch.where(drop, 1.0, 1 / GUIDANCE)
    return answer, ((answer - v) ** 2).mean((1, 3, 4)) * weight[:, None]


GUIDANCE = 9.0  # the pipeline's default


def train_motion(args):
    """Everything: a frame's noisy latents become the picture moved as the words say and as far as the ramp says."""
    join(args)
    torch.manual_seed(args.seed + 5)
    net = models.unet()
    models.start_as_identity(net)
    if not (args.work / "motion.pt").exists() and (args.work / "copy.pt").exists():
        state = torch.load(args.work / "copy.pt", weights_only=False)["net"]
        net.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("unet.")})
        read = torch.nn.Conv2d(32, 9, 1)
        read.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("read.")})
        models.start_as_still(net, read)
    models.skip_time_layers(net, not args.time_layers)
    readers = FlowReaders(net)
    if (args.work / "readers0.pt").exists():
        readers.load_state_dict(torch.load(args.work / "readers0.pt"))
    run = Run(
        args.work / "motion.pt",
        net,
        args.rate or 1e-3,
        decay=0.998,
        parameters=[*net.parameters(), *readers.parameters()],
    )
    models.skip_time_layers(run.mean, not args.time_layers)
    bank, words_, rng, began = (
        Bank(args.work / "bank"),
        Words(args),
        random.Random(run.step * 100 + args.rank),
        time.time(),
    )
    torch.manual_seed(run.step * 100 + args.rank)
    schedule, flows = models.scheduler().alphas_cumprod, []
    saved = time.time()
    while True:
        factor, done = cosine(args.minutes, began, args.end)
        if agree(done):
            break
        z, ramp, fps, moves, seen = bank.batch(rng, args.batch or 16, args.frames, args.side)
        text = words_.batch(moves, rng)
        drop = torch.rand(len(z)) < 0.12  # no words, no image embedding: the picture stands still
        text[drop], seen[drop], z[drop] = words_.none, 0, z[drop][:, :, :1]
        moves = [clips.NAMES.index("still") if d else m for m, d in zip(moves, drop)]
        t = (1000 * (1 - torch.rand(len(z)) ** args.emphasis)).long().clamp(0, 999)
        x, v = add_noise(schedule, z, t)
        condition = image_latents(z, ramp)
        guess = net(x, t, fps, condition, seen[:, None], text, return_dict=False)[0]
        flow = readers.loss(moves, ramp, fps, 24, args.side)
        error = ((guess - v) ** 2).mean((1, 3, 4))
        if args.guided:
            guess, error = guided(net, guess, x, v, t, fps, condition, words_.none, drop)
        run.update(error.mean() + args.flow * flow, factor)
        flows.append(flow.item())
        high = (t > 900) & ~drop
        if high.any() and not args.rank:
            run.extra.setdefault("high", []).append((error[high][:, 0].mean().item(), error[high][:, 1:].mean().item()))
        if args.rank:
            continue
        if run.step % 50 == 0:
            recent = run.extra.pop("high", [(0, 0)])
            run.log(
                50,
                f"flow {sum(flows[-50:]) / 50:.4f} at high noise: first frame %.4f, later %.4f"
                % tuple(sum(v) / len(v) for v in zip(*recent)),
            )
        if time.time() - saved > 120:
            run.extra.pop("high", None)
            run.save()
            torch.save(readers.state_dict(), args.work / "readers0.pt")
            saved = time.time()
    run.extra.pop("high", None)
    if not args.rank:
        run.save()


def write_export(args):
    from export import export

    torch.manual_seed(args.seed + 5)
    tokenizer, encoder, vision = load_text(args)
    vae, scaling = load_autoencoder(args)
    net = models.unet()
    models.start_as_identity(net)
    if (args.work / "motion.pt").exists():
        net.load_state_dict(torch.load(args.work / "motion.pt", weights_only=False)["mean"])
    export(args.target, net, vae, scaling, encoder, vision, args.work / "tokenizer")


def write_report(args):
    from report import report, settings_report

    settings = {"num_inference_steps": args.steps, "guidance_scale": args.guidance, "num_frames": args.clip_frames}
    if args.settings:
        settings_report(args.target, settings)
    else:
        report(args.target, args.work, args.pictures, settings)


STAGES = {
    "autoencoder": train_autoencoder,
    "text": train_text,
    "bank": make_bank,
    "copy": train_copy,
    "motion": train_motion,
    "export": write_export,
    "report": write_report,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument(
        "--work", type=Path, default=HERE / "work", help="checkpoints and contact sheets (ignored by git)"
    )
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=int, default=60, help="bank: files kept")
    parser.add_argument("--frames", type=int, default=4, help="motion: frames of a training clip")
    parser.add_argument("--side", type=int, default=12, help="motion: side of the training latents")
    parser.add_argument("--time-layers", action="store_true", help="motion: train the layers between frames, too")
    parser.add_argument("--target", type=Path, default=HERE, help="export: the model's folder")
    parser.add_argument("--pictures", type=int, default=20, help="report: unseen pictures")
    parser.add_argument("--steps", type=int, default=50, help="report")
    parser.add_argument("--guidance", type=float, default=9.0, help="report")
    parser.add_argument("--clip-frames", type=int, default=16, help="report: frames of a clip")
    parser.add_argument(
        "--settings", action="store_true", help="report: what each setting changes, instead of the motion"
    )
    parser.add_argument(
        "--end", type=float, default=0.05, help="the share of the learning rate that is left at the end"
    )
    parser.add_argument("--emphasis", type=float, default=1.5, help="motion: how much high noise is preferred")
    parser.add_argument("--flow", type=float, default=0.3, help="motion: weight of the read-outs of the flow")
    parser.add_argument("--guided", action="store_true", help="motion: learn to be right at guidance 9")
    parser.add_argument("--rank", type=int, default=0, help="motion: number of this process")
    parser.add_argument("--ranks", type=int, default=1, help="motion: how many processes train together")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--decoder-only", action="store_true")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    STAGES[args.stage](args)


if __name__ == "__main__":
    main()
