# Everything runs in .venv, made from the machine's own python3 (3.10 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo demo-report test test-full test-faults fuzz app bench lint screenshots clean

demo: $(VENV)/with-core  ## a video from the bundled picture with the bundled model
	@mkdir -p outputs
	$(BIN)/python -m i2v_mlx generate resources/examples/cat.jpg --model demo --prompt "zoom in" --seed 1 -o outputs/demo.mp4
	@echo "Your video is outputs/demo.mp4. It was made by the small demo model, which can only move a camera: try \"pan left\", \"zoom out\"."

demo-report: $(VENV)/with-core  ## what the demo model must show, on 140 clips; a quarter of an hour on two cores
	$(BIN)/python resources/demo/report.py

test: $(VENV)/with-test  ## every test, about ten minutes on two cores
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest

test-full: $(VENV)/with-test  ## parity at the released configuration; 20 GB of memory, up to an hour on two cores
	$(BIN)/python -m pytest -m full tests/full -s -o faulthandler_timeout=0

test-faults: $(VENV)/with-test  ## the twelve groups of faults alone, and how many cases each has
	QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest tests/faults

FUZZ_MINUTES ?= 20
fuzz: $(VENV)/with-test  ## pictures, weight headers, configs, protocol, recipes and clips, changed at random
	FUZZ_MINUTES=$(FUZZ_MINUTES) $(BIN)/python tests/fuzz/fuzz.py

app: $(VENV)/with-app  ## the window
	$(BIN)/python -m gui

bench: $(VENV)/with-bench  ## against diffusers, in one run
	$(BIN)/python benchmarks/compare.py

lint: $(VENV)/with-test
	$(BIN)/ruff check .
	$(BIN)/mypy

screenshots: $(VENV)/with-app
	QT_QPA_PLATFORM=offscreen $(BIN)/python resources/screenshots/make.py

clean:
	rm -rf $(VENV) outputs

# ---------------------------------------------------------------- set-up

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/with-core: $(VENV)/bin/python pyproject.toml | system
	$(PIP) --editable .
	@touch $@

$(VENV)/with-test: $(VENV)/bin/python pyproject.toml | system system-qt
	$(PIP) --editable ".[app,test]"
	@touch $@ $(VENV)/with-core $(VENV)/with-app

$(VENV)/with-app: $(VENV)/bin/python pyproject.toml | system system-qt
	$(PIP) --editable ".[app]"
	@touch $@ $(VENV)/with-core

$(VENV)/with-bench: $(VENV)/bin/python pyproject.toml | system
	$(PIP) --editable ".[bench]"
	@touch $@ $(VENV)/with-core

# On Linux: OpenBLAS, without which MLX's matrix products are 30 times slower, and what Qt needs. Where we may not
# install, things go on without; on macOS nothing is needed.
.PHONY: system system-qt
define install
	@if [ "$$(uname -s)" = Linux ] && command -v apt-get >/dev/null; then \
	  missing=$$(for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	  if [ -n "$$missing" ]; then \
	    as=$$([ "$$(id -u)" = 0 ] || echo sudo -n); \
	    { $$as apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as apt-get install -y -qq $$missing; } >/dev/null 2>&1 \
	      || echo "note: could not install $$missing; things go on without"; \
	  fi; \
	fi
endef

system:
	$(call install,libopenblas0-pthread)

system-qt:
	$(call install,libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1 fonts-dejavu-core)
