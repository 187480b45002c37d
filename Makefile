# make demo       a whole conversation on this machine, without Docker, robot, key or cloud
# make talk       the page where you talk to a robot on the screen, without Docker, robot, key or cloud; Ctrl-C ends
# make quick      the tests of the parts, without whole conversations: one to four minutes
# make coverage   these tests, and how much of each module they run, in percent: seven minutes
# make test       everything that this machine can test; its last lines say what did not run and how to make it run
# make sessions   a part of make test: only the session manager, through every failure, in real time: three minutes
# make chaos      every fault at random on six robots that talk in noise: half an hour; make test has CHAOS_S=60
# make weather    the world around a gateway fails at random for a quarter of an hour: names, disks, files, clock,
#                 core; needs root
# make attacks    attacks by strangers and hostile robots on a running gateway: minutes
# make check      format, lint and types
# make bench      latency, how many robots a core carries, gateways that die; also the body if tests/reachy/setup was
#                 run, and the page if chromium-headless-shell is there: twenty minutes
# make bench-peers  the gateway beside livekit-agents, pipecat and loops without a framework, on the same work in one
#                 run: half an hour; ARGS="--robots 30 40 --runs 1" for less
# make storm      a part of make bench: only gateways that die: how long until every robot talks again
# make remember   a part of make bench: only a fleet with a store. Gateways fail in many ways: who is heard again
#                 where, and do the books hold
# make swarm      a fleet on a real Docker Swarm of two nodes: a task killed, a wire cut, a node drained, an update;
#                 needs root, dockerd and the images (docker compose build); ten minutes
# make capacity   how many robots this machine carries: two minutes
# make scale      ten thousand robots, simulated, after the simulation has predicted a storm that is measured: three
#                 minutes
# make soak       ten minutes of random faults: nothing grows, everybody talks; ARGS="--minutes 60" for longer
# make hostile    a million malformed messages, and their effect on a robot that talks: ten minutes
# make fuzz       every reader of bytes from outside, coverage-guided, SECONDS=60 each
# make scan       the locked packages and the images: withdrawn, outdated, file modes
# make manifests  the Kubernetes manifests, checked by the schemas of five versions and a check of our own;
#                 ARGS="FILE ..." for your own
# make kit        docs/protocol, written again from the models of the messages
# make lock       compile the hash-locked requirements again
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(wildcard shared/*/pyproject.toml services/*/pyproject.toml)
SOURCES := $(wildcard shared/*/src services/*/src)

.PHONY: demo talk quick coverage test sessions chaos weather attacks check bench bench-peers storm remember swarm capacity scale manifests soak hostile fuzz scan kit lock clean
.DELETE_ON_ERROR:

demo: $(VENV)/ready
	$(BIN)/python tools/demo.py

talk: $(VENV)/ready
	$(BIN)/python tools/talk.py

QUICK := tests/robot tests/gateway tests/link tests/service tests/gemini tests/sim tests/console/test_guard.py tests/console/test_login.py tests/protocol/test_kit.py tests/test_rules.py tests/test_env_example.py tests/test_documents.py
quick: $(VENV)/ready
	$(BIN)/pytest --numprocesses auto $(QUICK)

coverage: $(VENV)/ready
	$(BIN)/pytest --numprocesses auto --quiet --timeout 180 --cov --cov-report=term $(QUICK)

test: $(VENV)/ready
	tests/run

sessions: $(VENV)/ready
	$(BIN)/pytest tests/sessions --numprocesses 6 --dist worksteal

chaos: $(VENV)/ready
	CHAOS_S=$${CHAOS_S:-1800} $(BIN)/pytest tests/sessions/test_chaos.py -k long_run --override-ini timeout=0 --override-ini faulthandler_timeout=0 -p no:logging # which keeps every line in memory

weather: $(VENV)/ready
	WEATHER_S=$${WEATHER_S:-900} $(BIN)/pytest tests/weather --override-ini timeout=0 --override-ini faulthandler_timeout=0

attacks: $(VENV)/ready
	$(BIN)/pytest tests/attacks

$(VENV)/robot-in-cpp: docs/protocol/robot.cpp $(VENV)/ready
	g++ -std=c++17 -O0 -Wall -Wextra -Wno-missing-field-initializers -Werror $< -lzmq -o $@

check: $(VENV)/ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy $(SOURCES) tools bench

bench: $(VENV)/ready
	@status=0; for part in latency density storm watch remember $(if $(wildcard .venv-reachy),body) $(if $(shell command -v chromium-headless-shell),page); do $(BIN)/python bench/$$part.py --out out/bench || status=1; echo; done; exit $$status

bench-peers: $(VENV)/ready .venv-peers/livekit-agents/ready .venv-peers/pipecat/ready
	$(BIN)/python bench/peers.py --out out/bench $(ARGS)

.venv-peers/%/ready: requirements/peer-%.txt $(VENV)/ready
	@$(PYTHON) -m venv $(@D)
	VIRTUAL_ENV=$(@D) $(BIN)/uv pip sync --quiet --require-hashes requirements/peer-$*.txt
	@touch $@

storm: $(VENV)/ready
	$(BIN)/python bench/storm.py $(ARGS)

remember: $(VENV)/ready
	$(BIN)/python bench/remember.py $(ARGS)

swarm: $(VENV)/ready
	docker compose build --quiet gemini-gateway console
	tools/valkey-image
	$(BIN)/python bench/swarm.py $(ARGS)

capacity: $(VENV)/ready
	$(BIN)/python bench/capacity.py $(ARGS)

scale: $(VENV)/ready
	$(BIN)/python bench/scale.py $(ARGS)

manifests: $(VENV)/ready
	$(BIN)/python tools/manifests.py $(ARGS)

soak: $(VENV)/ready
	$(BIN)/python bench/soak.py --out out/bench $(ARGS)

hostile: $(VENV)/ready
	$(BIN)/python bench/hostile.py

fuzz: $(VENV)/ready
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements/fuzz.txt
	tests/fuzz/run $(SECONDS)

scan: $(VENV)/ready
	$(BIN)/python tools/scan.py

kit: $(VENV)/ready
	$(BIN)/python tools/protocol_kit.py

lock: $(VENV)/ready
	PATH=$(BIN):$$PATH requirements/compile $(ARGS)

$(VENV)/ready: requirements/build.txt requirements/dev.txt $(PACKAGES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Reachy Link needs Python 3.11 or newer: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo 'On Debian: apt install python3-venv' >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes requirements/build.txt requirements/dev.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation $(foreach package,$(PACKAGES),-e $(dir $(package)))
	@$(BIN)/python -m compileall -q $(SOURCES) # as the images are: else a start takes twice as long where Python may write none itself
	@touch $@

clean:
	rm -rf $(VENV) .venv-reachy .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
