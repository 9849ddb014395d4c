# Two commands do everything: `make demo` and `make test`. Both make the environment in .venv first.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Whole files, for what a file's tests share is made once; two more than two processors, for many tests wait.
SIDE_BY_SIDE := -n 4 --dist loadfile --no-loadscope-reorder

.PHONY: demo test up down lint unit integration e2e bench soak setup lock engine browser haproxy faketime coders mcp-servers clean

demo: $(STAMP)
	$(BIN)/evolve demo $(DEMO_FLAGS)

test: lint unit integration e2e

# Everything in containers of this machine's Docker Engine, for the home at $EVOLVE_HOME; needs root.
up: $(STAMP)
	@containers/files/production up

down:
	@containers/files/production down

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml .ci/setup
	PYTHON="$(PYTHON)" .ci/setup
	@touch $@

# After a change of dependencies in pyproject.toml; needs uv. What is pinned stays pinned. The second is for the image of
# `make up`: without tools, and for the image's own Python alone.
lock:
	uv pip compile pyproject.toml --group dev --extra postgresql --generate-hashes --no-emit-index-url --no-header --universal \
	--python-version 3.11.0 --quiet --output-file requirements.lock
	uv pip compile pyproject.toml --extra postgresql --generate-hashes --no-emit-index-url --no-header --python-platform linux \
	--python-version 3.11.2 --quiet --constraint requirements.lock --output-file containers/files/requirements.lock

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/pytest tests/unit -n 2 --dist worksteal -p no:schemathesis

integration: $(STAMP) engine haproxy faketime coders mcp-servers
	$(BIN)/pytest tests/integration -m "not soak" $(SIDE_BY_SIDE) --durations 30 --durations-min 8

e2e: $(STAMP) browser
	$(BIN)/pytest tests/e2e -m "not soak" $(SIDE_BY_SIDE)

# A Docker Engine and a base image for it: installed and made when root, else the Docker tests say what is missing.
engine: $(STAMP)
	@if [ "$$(id -u)" = 0 ]; then \
	{ command -v dockerd && command -v debootstrap; } >/dev/null || \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends docker.io iptables debootstrap debian-archive-keyring; }; \
	containers/files/make-base .venv/docker-base.tar; \
	else echo "a Docker Engine and its base image need root: without them the Docker tests are skipped" >&2; fi

# Coding CLIs, pinned, in a cache outside the checkout (1.6 GB): three for the tests, all seven (2.9 GB) for the soak.
coders: $(STAMP)
	@$(BIN)/python tests/integration/coder_clis.py $(CODERS)

# Real MCP servers, pinned, in the same cache (210 MB).
mcp-servers: $(STAMP)
	@$(BIN)/python tests/integration/mcp_servers.py

# HAProxy is a system package, too, and lies where an ordinary user's PATH may not lead.
haproxy:
	@PATH="$$PATH:/usr/sbin" command -v haproxy >/dev/null || \
	if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy; \
	else echo "no haproxy here: as root, 'apt-get install haproxy' lets the tests of the production edge run" >&2; fi

# A library that lets one process's wall clock jump.
faketime:
	@ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || \
	if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends libfaketime; \
	else echo "no libfaketime here: as root, 'apt-get install libfaketime' lets the tests of jumping clocks run" >&2; fi

# Chromium is a system package: installed when root, else the browser tests say what is missing.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; \
	else echo "no chromium here: as root, 'apt-get install chromium' lets the browser tests run" >&2; fi

# Some 40 minutes, 18 of them the mend corpus. `python -m benchmarks NAME` runs one of the first ones alone.
bench: $(STAMP) mcp-servers
	$(BIN)/python -m benchmarks --json
	$(BIN)/python benchmarks/false_accepts.py
	$(BIN)/python -m benchmarks.mend_corpus
	$(BIN)/python -m benchmarks.compiling
	$(BIN)/python -m benchmarks.workflows --scale 0.5

soak: CODERS := --all
soak: $(STAMP) coders
	$(BIN)/pytest tests -m soak
	$(BIN)/python tests/mutants/run.py

clean:
	rm -rf .venv
