# Needs Python 3.11 with venv. Everything else is installed into folders named .venv*.
PYTHON ?= python3.11
VENV := .venv
DEMO := .venv-demo
PIP := -m pip install --quiet --disable-pip-version-check
TOOLKIT := -e ./edge_runtime -e '.[train,convert,report,dev]'
QUIET := TF_CPP_MIN_LOG_LEVEL=3
PYTEST = $(QUIET) $(VENV)/bin/python -m pytest --numprocesses=auto --dist=loadfile
CHECKS := fuzz arm camera-vm browser micro qat backends targets quality docs

.PHONY: help demo toolkit test test-all lint check docs bench dist clean $(CHECKS:%=check-%)

help:
	@echo "make demo      install the device package alone and classify one drawn lesion"
	@echo "make toolkit   install the workstation toolkit (TensorFlow and all) into .venv"
	@echo "make test      install the toolkit and run the fast tests"
	@echo "make test-all  run the tests that 'make test' leaves out; NIGHTLY=1 adds the slowest"
	@echo "make lint      ruff, mypy, import-linter"
	@echo "make check     run one check in its own environment: TARGET=NAME, one of"
	@echo "               $(CHECKS)"
	@echo "make docs      build the documentation site in build/docs"
	@echo "make bench     measure our own overhead and the embedded model's latency"
	@echo "make dist      build wheels and source archives in dist"
	@echo "make clean     remove environments and build outputs"

demo: $(DEMO)/.installed
	@rm -rf build/demo
	$(DEMO)/bin/spot-edge classify examples/drawn-melanoma-001.jpg --top 3 --heatmap build/demo
	@echo "heat map: build/demo/drawn-melanoma-001.heatmap.png"

toolkit: $(VENV)/.installed

test: $(VENV)/.installed
	$(PYTEST) --cov --cov-report=term -m "not long and not nightly" $(ARGS)

test-all: $(VENV)/.installed
	$(PYTEST) --cov --cov-append --cov-report=term -m "$(if $(NIGHTLY),long or nightly,long and not nightly)" $(ARGS)

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

check:
	@$(if $(filter $(TARGET),$(CHECKS)),,echo "make check TARGET=NAME: one of $(CHECKS)" >&2; exit 2)
	@$(MAKE) --no-print-directory check-$(TARGET)

docs: .venv-docs/.installed
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict
	@echo "site: build/docs/index.html"

bench: $(VENV)/.installed
	$(VENV)/bin/spot-edge bench overhead
	$(VENV)/bin/spot-edge bench latency

dist: $(VENV)/.installed
	$(VENV)/bin/python release/dist.py $(ARGS)

clean:
	rm -rf .venv* build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage

# The checks of `make check`.

check-fuzz: .venv-fuzz/.installed
	PYTHONPATH=edge_runtime .venv-fuzz/bin/python tests/fuzz/run.py $(ARGS)

check-arm: $(VENV)/.installed
	VENV=$(VENV) $(VENV)/bin/python tests/targets/arm/check.py $(ARGS)

check-camera-vm: $(VENV)/.installed
	VENV=$(VENV) tests/targets/camera/vm.sh $(ARGS)

check-browser: $(VENV)/.installed build/web/.installed
	$(QUIET) $(VENV)/bin/python -m pytest -q -s tests/targets/check_browser.py $(ARGS)

check-micro: $(VENV)/.installed build/micro/.installed
	PYTHONPATH=build/micro $(QUIET) $(VENV)/bin/python -m pytest -q -s tests/targets/check_micro.py $(ARGS)

check-qat: $(VENV)/.installed .venv-qat/.installed
	QAT_PYTHON=.venv-qat/bin/python $(QUIET) $(VENV)/bin/python -m pytest -q tests/targets/check_qat.py $(ARGS)

check-backends: $(VENV)/.installed .venv-jax/.installed .venv-torch/.installed
	KERAS_BACKEND=tensorflow $(QUIET) $(VENV)/bin/python -m pytest -q -s tests/targets/check_backends.py $(ARGS)

check-targets: $(VENV)/.installed .venv-qat/.installed
	PYTHON=$(PYTHON) VENV=$(VENV) tests/targets/run.sh

check-docs: docs $(VENV)/.installed
	$(VENV)/bin/python -m pytest -q tests/targets/check_docs.py $(ARGS)

IMAGING := retina.jpg microaneurysms.png ihc.png cell.png phantom.png

check-quality: $(VENV)/.installed # needs DATA, the HAM10000 manifest
	data=$$($(VENV)/bin/python -c "import skimage; print(skimage.__path__[0])")/data; $(VENV)/bin/spot-edge bench quality \
		edge_runtime/spot_edge/models/spot-int8.tflite --data $(DATA) --other scikit-image=$$data \
		$(foreach name,$(IMAGING),--other imaging=$$data/$(name)) $(ARGS)

# Environments and downloads, made once.

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

.venv-fuzz/.installed .venv-docs/.installed: .venv-%/.installed: constraints/%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python $(PIP) -r $<
	touch $@

.venv-peers-%/.installed: constraints/peers-%.txt # one for each runtime that `python -m experiments.peers` compares
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
