# Meson does the work; these are the names people type. `make run` and `make test` need nothing before them.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
# Seconds for each fuzz target of `make fuzz`.
SECONDS ?= 60
# Of `make walk`: how many walks, from number SEED on.
WALKS ?= 10000000

export SMTP_PORT DATA_DIR SEED RUNS MINUTES FIRST DISK SCENE COUNT

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja:
	@scripts/install-deps
	@meson setup $(BUILD) >/dev/null

# Starts the server on its embedded default, shows the journey of a first message, keeps serving until Ctrl-C.
run:
	@scripts/install-deps
	@$(MAKE) --no-print-directory all
	@scripts/run $(BUILD)

# Every test. The last line is "N passed, N failed".
test:
	@scripts/install-deps --test
	@scripts/test

# Simulated worlds, by seed: SEED=n shows one, RUNS=n and MINUTES=n run many from FIRST on; SCENE=name plays
# a known bad day (docs/reliability.md).
sim:
	@scripts/install-deps
	@$(MAKE) --no-print-directory all
	@scripts/sim $(BUILD)

fuzz:
	@scripts/install-deps --test
	@tests/fuzz/run --seconds $(SECONDS)

# Session walks and the end-of-data corpus in full, then every mutant of the engines: minutes. See tests/walk/README.md.
walk: all
	@$(BUILD)/tests/walk/walk $(WALKS) $(or $(SEED),1000000000) $$(nproc)
	@$(BUILD)/tests/walk/data-in --long
	@$(BUILD)/tests/walk/data-out --long
	@tests/walk/mutants --build $(BUILD)

# Faults in copies of the product: the simulator and the session walks have to find each. See tests/sim/README.md.
mutants: all
	@tests/sim/mutants --build $(BUILD)
	@tests/walk/mutants --build $(BUILD)

# Beside Postfix, on this machine; BENCH="--quick relay-20" for less. Results go into docs/performance.md.
bench:
	@scripts/install-deps --test
	@$(MAKE) --no-print-directory all
	@scripts/bench --build $(BUILD) --write $(BENCH)

check-style:
	@scripts/check-style

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX) >/dev/null
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet

# Leaves build/peers, which was downloaded.
clean:
	@find $(BUILD) -mindepth 1 -maxdepth 1 ! -name peers -exec rm -rf {} +

.PHONY: all run test sim fuzz walk mutants bench check-style install clean
