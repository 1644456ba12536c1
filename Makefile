# The few verbs a newcomer needs. Needs Python 3.11 with venv; everything else is installed into folders named .venv*.
PYTHON ?= python3.11
VENV := .venv
DEMO := .venv-demo
PIP := -m pip install --quiet --disable-pip-version-check
PEERS := litert tflite-runtime mediapipe onnxruntime openvino torch
TOOLKIT := -e ./edge_runtime -e '.[train,convert,dev]'

.PHONY: help demo toolkit qat test fuzz test-targets test-backends arm camera-vm lint bench bench-train bench-frontier bench-outputs bench-peers bench-stills bench-quality bench-variants bench-micro browser micro ablation ablation-convert restore-run clean

help:
	@echo "make demo          the device package alone, and one drawn lesion classified with it"
	@echo "make toolkit       the workstation toolkit (TensorFlow and all) in .venv, without testing it"
	@echo "make qat           the environment for quantization-aware training, .venv-qat: for convert --qat"
	@echo "make test          the toolkit (TensorFlow and all) and every test of it"
	@echo "make fuzz          every reader of the device package fed by a fuzzer, a minute in all; ARGS=\"--seconds 600\": each of six"
	@echo "make test-targets  the tests that need other environments: tflite-runtime, MediaPipe, newer Pythons"
	@echo "make test-backends a tiny training under Keras' three backends, in environments without TensorFlow where it is another"
	@echo "make arm           the device package on ARM under emulation: its tests, and the instructions it takes"
	@echo "make browser       the example page and the variant browser in LiteRT.js and a real Chromium; needs npm and chromium"
	@echo "make micro         the variant microcontroller in tflite-micro"
	@echo "make camera-vm     cameras against the kernel's own drivers, in an arm64 system under emulation; ARGS=unit: the kiosk's systemd unit"
	@echo "make lint          ruff, mypy, import-linter"
	@echo "make bench         our own overhead and the embedded model's latency, as tables"
	@echo "make bench-train   the training loop against its own compiled step"
	@echo "make bench-frontier what width and resolution save in size and time, as docs/frontier.md: some ten minutes"
	@echo "make bench-outputs what evidence, embedding and tail cost in bytes and time; RUN=folder [runs/spot]"
	@echo "make bench-peers   the embedded model beside other runtimes, as docs/peers.md: some ten minutes, most of it installing"
	@echo "make bench-stills  what decoding large JPEGs at a reduced size would change and save; DATA=manifest"
	@echo "make bench-quality what the embedded model's limits refuse: good images, defects, other pictures; DATA=manifest"
	@echo "make bench-variants docs/variants.md from reports; FAMILIES=\"1.0=FOLDER 0.35=FOLDER\", as that page says at its end"
	@echo "make bench-micro   flash and arena in tflite-micro against width and resolution: some minutes"
	@echo "make ablation      what each ingredient of the recipe spot does; DATA=manifest, TRUNK=weights"
	@echo "make ablation-convert what prepares a network for int8 and int4; RUN=folder [runs/spot], DATA=folder of its images"
	@echo "make restore-run   runs/spot from models/spot; DATA=folder of the HAM10000 images"
	@echo "make clean         remove the environments and what was built"

demo: $(DEMO)/.installed
	@rm -rf build/demo
	$(DEMO)/bin/spot-edge classify examples/drawn-melanoma-001.jpg --top 3 --heatmap build/demo
	@echo "heat map: build/demo/drawn-melanoma-001.heatmap.png"

toolkit: $(VENV)/.installed

qat: .venv-qat/.installed

test: $(VENV)/.installed
	TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python -m pytest --numprocesses=auto --dist=loadfile --cov --cov-report=term $(ARGS)

fuzz: .venv-fuzz/.installed
	PYTHONPATH=edge_runtime .venv-fuzz/bin/python tests/fuzz/run.py $(ARGS)

test-targets: $(VENV)/.installed .venv-qat/.installed
	PYTHON=$(PYTHON) VENV=$(VENV) tests/targets/run.sh

test-backends: $(VENV)/.installed .venv-jax/.installed .venv-torch/.installed
	KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python -m pytest -q -s tests/targets/check_backends.py $(ARGS)

arm: $(VENV)/.installed
	VENV=$(VENV) $(VENV)/bin/python tests/targets/arm/check.py $(ARGS)

camera-vm: $(VENV)/.installed
	VENV=$(VENV) tests/targets/camera/vm.sh $(ARGS)

browser: $(VENV)/.installed build/web/.installed
	TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python -m pytest -q -s tests/targets/check_browser.py $(ARGS)

micro: $(VENV)/.installed build/micro/.installed
	PYTHONPATH=build/micro TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python -m pytest -q -s tests/targets/check_micro.py $(ARGS)

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.installed
	$(VENV)/bin/spot-edge bench overhead
	$(VENV)/bin/spot-edge bench latency

bench-train: $(VENV)/.installed
	$(VENV)/bin/python train/loop_speed.py $(ARGS)

bench-frontier: $(VENV)/.installed
	TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python benchmarks/frontier.py --out runs/frontier --page docs $(ARGS)

bench-outputs: $(VENV)/.installed
	TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python convert/outputs_cost.py $(or $(RUN),runs/spot) $(ARGS)

bench-peers: $(VENV)/.installed
	-$(MAKE) --keep-going $(PEERS:%=.venv-peers-%/.installed)
	TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python -m peers.networks runs/peers
	$(VENV)/bin/python -m peers --networks runs/peers --page docs/peers.md $(ARGS)

bench-stills: $(VENV)/.installed
	$(VENV)/bin/python benchmarks/large_stills.py --data $(DATA) $(ARGS)

bench-micro: $(VENV)/.installed build/micro/.installed
	PYTHONPATH=build/micro TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python benchmarks/micro_arena.py --out runs/frontier $(ARGS)

IMAGING := retina.jpg microaneurysms.png ihc.png cell.png phantom.png

bench-quality: $(VENV)/.installed
	data=$$($(VENV)/bin/python -c "import skimage; print(skimage.__path__[0])")/data; $(VENV)/bin/spot-edge bench quality \
		edge_runtime/spot_edge/models/spot-int8.tflite --data $(DATA) --other scikit-image=$$data \
		$(foreach name,$(IMAGING),--other imaging=$$data/$(name)) $(ARGS)

bench-variants: $(VENV)/.installed
	$(VENV)/bin/python -m variants $(FAMILIES) --page docs $(ARGS)

ablation: $(VENV)/.installed
	$(VENV)/bin/python train/ablation.py --data $(DATA) --trunk $(or $(TRUNK),imagenet) --out runs/ablation $(ARGS)

ablation-convert: $(VENV)/.installed
	TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python convert/ablation.py $(or $(RUN),runs/spot) $(if $(DATA),--data $(DATA)) $(ARGS)

restore-run: $(VENV)/.installed
	$(VENV)/bin/spot-edge restore-run models/spot --out runs/spot $(if $(DATA),--data $(DATA))

clean:
	rm -rf .venv* build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage

$(DEMO)/.installed: $(shell find edge_runtime -type f -not -path '*/__pycache__/*') constraints/dev.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(PIP) --upgrade -c constraints/dev.txt ./edge_runtime
	touch $@

$(VENV)/.installed: pyproject.toml edge_runtime/pyproject.toml constraints/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP) -c constraints/dev.txt $(TOOLKIT)
	touch $@

build/web/.installed: constraints/browser.txt
	rm -rf build/web && mkdir -p build/web
	cd build/web && npm install --silent --no-audit --no-fund --no-save --no-package-lock $$(cat ../../constraints/browser.txt)
	touch $@

build/micro/.installed: constraints/micro.txt
	rm -rf build/micro && mkdir -p build/micro
	$(VENV)/bin/python $(PIP) --no-deps --target build/micro -r $<
	touch $@

.venv-fuzz/.installed: constraints/fuzz.txt
	$(PYTHON) -m venv .venv-fuzz
	.venv-fuzz/bin/python $(PIP) -r $<
	touch $@

.venv-peers-%/.installed: constraints/peers-%.txt
	$(PYTHON) -m venv .venv-peers-$*
	.venv-peers-$*/bin/python $(PIP) -r $<
	touch $@

.venv-qat/.installed: pyproject.toml edge_runtime/pyproject.toml constraints/qat.txt
	$(PYTHON) -m venv .venv-qat
	.venv-qat/bin/python $(PIP) -c constraints/qat.txt -e ./edge_runtime -e '.[qat]'
	touch $@

.venv-%/.installed: pyproject.toml edge_runtime/pyproject.toml constraints/%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python $(PIP) -c constraints/$*.txt -e ./edge_runtime -e '.[train-$*]'
	! .venv-$*/bin/python -c 'import tensorflow' 2>/dev/null
	touch $@
