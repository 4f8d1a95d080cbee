# What contributors run. `make test` needs nothing installed beforehand but make itself (root, on Debian 12 or 13).

VENV ?= .venv
BIN := $(VENV)/bin
C_FILES = $(wildcard bpf/*.c bpf/*.h)

# What the tests use of the distribution: bcc for the loader, a C compiler for test programs, gdb as a second
# opinion, Chromium for the flame graph page, and rustc where there is none. Go comes from wheels.
PACKAGES := python3 python3-venv python3-bpfcc gcc g++ libc6-dev binutils gdb chromium fonts-dejavu-core
ifeq ($(shell command -v rustc)$(wildcard $(HOME)/.cargo/bin/rustc),)
PACKAGES += rustc
endif

# What booting other kernels takes. Debian 12 has virtiofsd in qemu-system-common, Debian 13 as a package of its own.
QEMU_PACKAGES := qemu-system-x86 qemu-system-common busybox-static kmod zstd lz4
# What the test of the Vagrantfile takes; machines take more (docs/vagrant.md).
VAGRANT_PACKAGES := vagrant vagrant-libvirt

FUZZ_INPUTS ?= 5000
FUZZ_SECONDS ?= 60
PYTEST_ARGS ?=
BENCH_ARGS ?=
KERNELS_ARGS ?=

.PHONY: help check test unit lint types format-c fuzz bench kernels fmt proto lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

check: lint types format-c unit ## what to run before a commit: lint, types, C format, unit tests

test: $(VENV)/dev.stamp .cache/packages.stamp ## set up this machine if needed, then run all tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

unit: $(VENV)/dev.stamp ## the tests that need neither root nor BPF
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

lint: $(VENV)/dev.stamp ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp ## mypy --strict on our packages
	$(BIN)/mypy

format-c: $(VENV)/dev.stamp ## clang-format on the BPF sources
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)

fuzz: $(VENV)/dev.stamp ## broken inputs for every parser (FUZZ_INPUTS, FUZZ_SECONDS each)
	$(BIN)/python -m tests.fuzz.run --inputs $(FUZZ_INPUTS) --seconds $(FUZZ_SECONDS)

bench: $(VENV)/dev.stamp .cache/packages.stamp ## measure our own cost (BENCH_ARGS, about 15 min)
	$(BIN)/python -m tests.bench $(BENCH_ARGS)

kernels: $(VENV)/dev.stamp .cache/packages.stamp ## boot the kernels of vagrant/kernels.toml and test there (KERNELS_ARGS)
	@$(call install,$(QEMU_PACKAGES) $(VAGRANT_PACKAGES))
	@[ -e /usr/lib/qemu/virtiofsd ] || { $(call install,virtiofsd); }
	$(BIN)/python -m pytest tests/boot/test_boot_vagrantfile.py
	@$(BIN)/python -m tests.boot.build # here, where it is quick
	vagrant/run all $(KERNELS_ARGS)

fmt: $(VENV)/dev.stamp ## put everything into its format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

proto: ## regenerate the protobuf module, with a generator of its own environment
	python3 -m venv .cache/proto-venv
	.cache/proto-venv/bin/pip install --quiet --disable-pip-version-check grpcio-tools==1.76.0
	PYTHONPATH=. .cache/proto-venv/bin/python -m exporters.proto.generate

lock: $(VENV)/dev.stamp ## take the newest versions that the floors allow into requirements.lock
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[dev]'
	{ sed -n '/^#/p' requirements.lock; $(BIN)/python -m pip freeze --exclude-editable; } > requirements.lock.new
	mv requirements.lock.new requirements.lock

clean: ## remove what was built and cached here
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# The launcher knows how to make the environment on a bare machine; the development tools come on top.
$(VENV)/dev.stamp: pyproject.toml requirements.lock
	@GOROSCOPE_VENV=$(abspath $(VENV)) ./goroscope --version >/dev/null
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	@touch $@

# Without root or apt the tests that miss something skip themselves and say so.
.cache/packages.stamp: Makefile
	@mkdir -p .cache
	@$(call install,$(PACKAGES))
	@touch $@

# Those of the packages $(1) that are missing.
define install
missing=$$(for package in $(1); do dpkg -s $$package >/dev/null 2>&1 || echo $$package; done); \
if [ -z "$$missing" ]; then :; \
elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing" $$missing; \
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $$missing >/dev/null; \
else echo "not installed (some tests will be skipped):" $$missing; fi
endef
