"""Presets in sight, the numbers behind them folded away."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from i2v_mlx.request import FPS_RANGE, FRAMES_RANGE, GUIDANCE_RANGE, SEED_LIMIT, SIDE_RANGE, STEPS_RANGE

from . import theme
from .actions import Actions
from .buttons import FlatButton, IconButton
from .icons import icon
from .labels import TIMES, ElidedLabel, Label
from .presets import label, presets
from .seed import SeedMode
from .segmented import Segmented
from .session import Session
from .spin_boxes import narrow, shaped

MODEL_NAMES = {"demo": "Demo (small)", "i2vgen-xl": "I2VGen-XL", "i2vgen-xl-8bit": "I2VGen-XL, 8-bit, for 8 GB Macs"}
_MODE_ICONS: dict[SeedMode, str] = {"locked": "lock", "next": "plus-one"}
_SAMPLERS = (("ddim", "DDIM"), ("forecast", "DDIM, forecast"),
             ("dpm++2m", "DPM++ 2M"), ("unipc", "UniPC"), ("euler", "Euler"))
_FIDELITIES = (("diffusers", "As in diffusers"), ("original", "As in the original"))


class SettingsPanel(QWidget):
    """Follows the draft's request."""

    def __init__(self, session: Session, actions: Actions, parent: QWidget | None = None):
        super().__init__(parent)
        self._session, self._actions = session, actions
        change = session.draft.change

        names = [preset.name for preset in presets("")]
        self.preset = Segmented([(preset.name, label(preset)) for preset in presets("")], "Quality")
        self.preset.picked.connect(lambda name: actions.presets[names.index(name)].trigger())
        self._summary = ElidedLabel(quiet=True)

        self.seed = narrow(QDoubleSpinBox(decimals=0, minimum=0, maximum=SEED_LIMIT - 1), 96)    # QSpinBox: to 2^31
        self.seed.valueChanged.connect(lambda value: change("seed", seed=int(value)))
        self._mode_buttons = {mode: self._mode_button(mode) for mode in _MODE_ICONS}
        session.draft.seed_mode_changed.connect(self._show_seed_mode)
        self._show_seed_mode(session.draft.seed_mode)

        self.model = QComboBox()
        self.model.activated.connect(lambda index: session.draft.use_model(self.model.itemData(index)))
        self.width_ = narrow(QSpinBox(minimum=SIDE_RANGE[0], maximum=SIDE_RANGE[1], singleStep=8), 56)
        self.height_ = narrow(QSpinBox(minimum=SIDE_RANGE[0], maximum=SIDE_RANGE[1], singleStep=8), 56)
        for spin in (self.width_, self.height_):
            spin.setKeyboardTracking(False)           # half a number would be rounded under the fingers
        self.width_.valueChanged.connect(lambda value: self._set_size(width=value))
        self.height_.valueChanged.connect(lambda value: self._set_size(height=value))
        self.frames = shaped(QSpinBox(minimum=FRAMES_RANGE[0], maximum=FRAMES_RANGE[1]))
        self.frames.valueChanged.connect(lambda value: change("frames", num_frames=value))
        self.steps = shaped(QSpinBox(minimum=STEPS_RANGE[0], maximum=STEPS_RANGE[1]))
        self.steps.valueChanged.connect(session.draft.set_steps)
        self.guidance = shaped(QDoubleSpinBox(decimals=1, minimum=GUIDANCE_RANGE[0], maximum=GUIDANCE_RANGE[1],
                                              singleStep=0.5))
        self.guidance.valueChanged.connect(lambda value: change("guidance", guidance_scale=value))
        self.motion = shaped(QSpinBox(minimum=FPS_RANGE[0], maximum=FPS_RANGE[1], suffix=" fps"))
        self.motion.valueChanged.connect(lambda value: change("motion", target_fps=value))
        self.sampler = QComboBox()
        for value, words in _SAMPLERS:
            self.sampler.addItem(words, value)
        self.sampler.activated.connect(lambda index: session.draft.set_sampler(self.sampler.itemData(index)))
        self.fidelity = QComboBox()
        for value, words in _FIDELITIES:
            self.fidelity.addItem(words, value)
        self.fidelity.activated.connect(lambda index: change("fidelity", fidelity=self.fidelity.itemData(index)))

        self._more = self._numbers()
        self._fold = QToolButton(autoRaise=True)
        self._fold.setText("All settings")
        self._fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._fold.clicked.connect(actions.advanced.trigger)
        actions.advanced.toggled.connect(self._unfold)
        self._unfold(actions.advanced.isChecked())

        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(theme.GRID)
        head = QHBoxLayout()
        head.addWidget(Label("Quality", bold=True))
        head.addWidget(self._summary, 1)
        layout.addLayout(head)
        layout.addWidget(self.preset)
        layout.addLayout(self._seed_row())
        layout.addWidget(self._fold, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self._more)
        session.draft.changed.connect(self._show)
        session.engine_changed.connect(self._show_models)
        self._show_models()
        self._show()

    def _seed_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(theme.GRID // 2)
        title = Label("Seed", bold=True)
        title.setBuddy(self.seed)
        self.seed.setAccessibleName("Seed")
        row.addWidget(title)
        row.addSpacing(theme.GRID // 2)
        row.addWidget(self.seed, 1)
        row.addWidget(IconButton(self._actions.dice))
        row.addSpacing(theme.GRID // 2)
        for button in self._mode_buttons.values():
            row.addWidget(button)
        return row

    def _numbers(self) -> QWidget:
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(theme.GRID)
        grid.setVerticalSpacing(theme.GRID)
        grid.setColumnStretch(1, 1)
        size = QHBoxLayout()
        size.setSpacing(theme.GRID // 2)
        size.addWidget(self.width_, 1)
        size.addWidget(IconButton(self._actions.lock_aspect))
        size.addWidget(self.height_, 1)
        size.addWidget(IconButton(self._actions.swap_sides))
        self.width_.setAccessibleName("Width")
        self.height_.setAccessibleName("Height")
        rows = (
            ("Model", self.model, "Which weights make the video."),
            ("Size", size, "Width and height in pixels, multiples of 8."),
            ("Frames", self.frames, "How many frames the clip has."),
            ("Steps", self.steps, "More steps take longer and look cleaner."),
            ("Sampler", self.sampler, "How one step leads to the next. DPM++ and UniPC need fewer steps."),
            ("Guidance", self.guidance, "How strictly the words are followed."),
            ("Motion", self.motion, "How fast things move. Not the frame rate of the file."),
            ("Follow", self.fidelity, "Which of the two published versions to follow where they differ."),
        )
        for index, (name, field, hint) in enumerate(rows):
            title = Label(name, quiet=True)
            title.setToolTip(hint)
            grid.addWidget(title, index, 0)
            if isinstance(field, QWidget):
                field.setToolTip(hint)
                field.setAccessibleName(name)
                title.setBuddy(field)
                grid.addWidget(field, index, 1)
            elif isinstance(field, QHBoxLayout):
                grid.addLayout(field, index, 1)
        return box

    def _mode_button(self, mode: SeedMode) -> QToolButton:
        """Locked or counting up; with neither, every clip gets a new seed."""
        action = self._actions.seed_modes[mode]
        button = FlatButton(action.text(), _MODE_ICONS[mode], checkable=True)
        button.clicked.connect(lambda on: self._session.draft.set_seed_mode(mode if on else "random"))
        return button

    def _show_seed_mode(self, now: SeedMode) -> None:
        for mode, button in self._mode_buttons.items():
            button.setChecked(mode == now)

    def _unfold(self, on: bool) -> None:
        self._more.setVisible(on)
        self._fold.setIcon(icon("chevron-down" if on else "chevron-right"))
        self._fold.setAccessibleName("Hide all settings" if on else "Show all settings")

    def _set_size(self, **side: int) -> None:
        self._session.draft.set_size(**side)
        self._show()                                  # the side may have been rounded, and the other one follows

    def _show_models(self) -> None:
        request, hello = self._session.draft.request, self._session.engine.hello
        names = list(hello.models) if hello else []
        names += [] if request.model in names else [request.model]
        if names != [self.model.itemData(index) for index in range(self.model.count())]:
            self.model.clear()
            for name in names:
                self.model.addItem(MODEL_NAMES.get(name, name), name)
        self.model.setCurrentIndex(names.index(request.model))

    def _show(self, *_: object) -> None:
        request, preset = self._session.draft.request, self._session.draft.preset()
        self.preset.value = preset.name if preset else None
        self._summary.setText(f"{request.width} {TIMES} {request.height} · {request.num_frames} frames · "
                              f"{request.num_inference_steps} steps")
        for field, value in (
            (self.seed, request.seed), (self.width_, request.width), (self.height_, request.height),
            (self.frames, request.num_frames), (self.steps, request.num_inference_steps),
            (self.guidance, request.guidance_scale), (self.motion, request.target_fps),
        ):
            with QSignalBlocker(field):
                field.setValue(value)                 # type: ignore[arg-type]
        self.sampler.setCurrentIndex(self.sampler.findData(request.sampler))
        self.fidelity.setCurrentIndex(self.fidelity.findData(request.fidelity))
        self._show_models()
