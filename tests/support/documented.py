"""Who runs each command of the documents; ``tests/test_documents.py`` compares this with the pages."""

# ruff: noqa: ISC004 - a long command goes on in the next line

HERE = {
    "reachy-keys robot reachy-1",
    "reachy-keys trust 'GATEWAY_KEY'",
    "ROBOT_GATEWAY=gateway.local robot-io",
    "reachy-keys operator NAME KEY",
    "reachy-keys viewer NAME KEY",
    "reachy-keys dismiss NAME",
    "reachy-keys list",
    "reachy-keys console ~/.config/reachy-link/pages console browser-1",
    "export REACHY_KEYS_DIR=~/.config/reachy-link/pages",
    "CONSOLE_HOST=0.0.0.0 CONSOLE_NAMES=box.lab CONSOLE_TLS_CERT=box.pem CONSOLE_TLS_KEY=box.key reachy-console",
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=store.lab "
    "-addext subjectAltName=DNS:store.lab -keyout tls.key -out tls.crt",
    "sqlite3 ~/.local/share/reachy-link/ledger.sqlite "
    "'SELECT day, robot, session, COUNT(*), SUM(cost) FROM turns GROUP BY day, robot, session'",
    "(umask 077; tar --create --file reachy-secrets.tar deploy/secrets)",
    "mkdir -p ~/.config/reachy-link",
    "echo 'ROBOT_GATEWAY=gateway.local' > ~/.config/reachy-link/robot-io.env",
    "mkdir -p ~/.config/systemd/user && cp services/robot-io/robot-io.service ~/.config/systemd/user/",
    "ROBOT_GATEWAY=box-1.lab,box-2.lab",
    "ROBOT_GATEWAY=box.lab:5555+5556,box.lab:5557+5558",
    "ROBOT_GATEWAY=[fd00::1],[fd00::2]",
    "ROBOT_GATEWAY=gateways.lab",
    "GATEWAY_ADMIN_PORT=5559",
    "SIM_TLS_DIR=~/.local/share/reachy-sim gemini-live-sim",
    "reachy-keys gateway",
    "GATEWAY_SIM_URL=https://127.0.0.1:8765 GATEWAY_SIM_ROOT=~/.local/share/reachy-sim/root.pem "
    "REACHY_HEALTH_PORT=8080 gemini-gateway",
    "export REACHY_KEYS_DIR=~/.config/reachy-robot",
    "reachy-keys show",
    "REACHY_HEALTH_PORT=8080 reachy-keys list",
    "reachy-keys admit reachy-1 'ROBOT_KEY'",
    "ROBOT_DEVICE=wav ROBOT_UTTERANCES=services/robot-io/utterances ROBOT_GATEWAY=127.0.0.1 robot-io",
    "reachy-keys revoke reachy-1",
    "reachy-top",
    "python3 -m venv ~/reachy-link-venv",
    "export PATH=~/reachy-link-venv/bin:$PATH",
    "pip install --require-hashes -r requirements/build.txt",
    "pip install --no-deps --no-build-isolation "
    "./shared/reachy-link ./shared/reachy-service ./shared/reachy-robot ./services/robot-io",
}
"""Commands that ``tests/programs/test_commands.py`` runs. It also asks make for each of its targets."""

IN_CONTAINERS = [
    "cp .env.example .env",
    "docker compose build gemini-gateway console",
    "for image in gemini-gateway console; do docker tag reachy-link/$image localhost/reachy-link/$image; done",
    "docker compose up -d gemini-gateway console",
    "docker compose exec console reachy-console link",
    "docker compose exec console reachy-console link --viewer",
    "docker compose logs -f gemini-gateway",
    "docker compose exec gemini-gateway sh -c 'kill -HUP 1'",
    "docker compose run --rm keys admit reachy-1 'ROBOT_KEY'",
    "docker compose exec gemini-gateway reachy-keys list",
    "docker compose run --rm keys admit ID NEW_KEY",
    "docker compose run --rm keys list",
    "docker compose run --rm keys revoke reachy-1",
    "docker compose exec gemini-gateway reachy-top",
    "docker compose exec gemini-gateway python -m sqlite3 /data/ledger.sqlite "
    "'SELECT day, robot, SUM(cost) FROM turns GROUP BY day, robot'",
    "docker compose exec gemini-gateway rm -f /data/copy.sqlite",
    "docker compose exec gemini-gateway python -c "
    "\"import sqlite3; sqlite3.connect('/data/ledger.sqlite').execute('VACUUM INTO \\'/data/copy.sqlite\\'')\"",
    "docker compose cp gemini-gateway:/data/copy.sqlite ledger-copy.sqlite",
    "docker compose run --rm -T --entrypoint tar keys -C /keys/gateway -cf - . > gateway-keys.tar",
    "docker compose run --rm -T --entrypoint tar keys -C /keys/gateway -xf - < gateway-keys.tar",
    "docker compose up -d gemini-gateway",
]
"""Commands that ``tests/containers/test_compose.py`` runs, in this order."""

OTHER_TESTS = {
    "docker compose up": "tests/containers/test_compose.py::test_up_runs_a_whole_conversation",
    "docker compose --profile two up": "tests/containers/test_compose.py::test_a_second_robot_is_one_more_service",
    "docker compose -f docker-compose.yml -f docker-compose.fleet.yml up": (
        "tests/containers/test_compose.py::test_a_robot_talks_on"
    ),
    "docker compose kill gemini-gateway": "tests/containers/test_compose.py::test_a_robot_talks_on",
    "docker compose -p reachy-ci -f docker-compose.yml -f docker-compose.mock.yml run --build --rm robot-io": (
        "tests/containers/test_compose.py::test_the_gateway_swapped_for_the_mock"
    ),
    "docker compose -p reachy-ci down --volumes --remove-orphans": "tests/containers/test_compose.py::torn_down",
    "echo 'COMPOSE_FILE=docker-compose.yml:docker-compose.secret.yml' >> .env": (
        "tests/containers/test_compose.py::test_the_key_as_a_secret_reaches_every_gateway"
    ),
    "docker compose build": "tests/containers/conftest.py::clone",
    "docker build -f services/gemini-live-sim/Dockerfile -t gemini-live-sim .": "tests/containers/conftest.py::clone",
    "docker build -f services/robot-io/Dockerfile --target reachy -t reachy-link/robot-io-reachy .": (
        "tests/containers/test_compose.py::test_the_image_of_the_real_robot"
    ),
    "deploy/make-secrets": "tests/deploy/test_kubernetes.py",
    "deploy/make-secrets --kubernetes | kubectl apply -f -": "tests/deploy/test_kubernetes.py",
    "docker stack deploy -c deploy/swarm.yml reachy": "bench/swarm.py",
    "docker service logs reachy_console": "bench/swarm.py",
    "python bench/watch.py": "tests/bench/test_bench.py",
}
"""Commands that another test runs in a form of its own, and the test."""

NOWHERE = {
    "a person's own host, account or shell": [
        "ssh -L 8090:127.0.0.1:8090 box",
        "git clone URL ~/reachy-link",
        "cd ~/reachy-link",
        "install -m 400 -o 10001 /dev/stdin config/gemini-api-key",
        "export PATH=$PWD/.venv/bin:$PATH",
    ],
    "an image registry": [
        "docker pull python:3.13-slim",
        "docker image inspect --format 'BASE_IMAGE={{index .RepoDigests 0}}' python:3.13-slim >> .env",
        "docker compose up -d prometheus grafana",
        "for image in gemini-gateway console; do\ndocker tag reachy-link/$image registry.lab/reachy-link/$image:RELEASE &&\n"
        "docker push registry.lab/reachy-link/$image:RELEASE\ndone",
    ],
    "a conversation whose words a persona keeps": ["docker compose cp gemini-gateway:/data/transcripts ."],
    "a Kubernetes cluster": [
        "kubectl apply -f deploy/kubernetes/00-namespace.yaml",
        "kubectl apply -f deploy/kubernetes",
        "kubectl -n reachy logs deployment/console",
        "kubectl -n reachy port-forward deployment/console 8090",
    ],
    "a robot, or its system": [
        "sudo apt-get install --no-install-recommends python3-venv git $(services/robot-io/debian-packages build) "
        "$(services/robot-io/debian-packages runtime)",
        "VIRTUAL_ENV=~/reachy-link-venv uv pip install --require-hashes -r services/robot-io/requirements-reachy.txt",
        "sudo apt-get update",
        "cd ~/reachy-link && git pull",
        "systemctl --user daemon-reload && systemctl --user enable --now robot-io",
        'sudo loginctl enable-linger "$USER"',
        "systemctl --user kill --signal=SIGUSR1 robot-io",
        "systemctl --user kill --signal=SIGUSR2 robot-io",
        'keys() { docker run --rm --user "$(id -u):$(id -g)" -v ~/.config/reachy-link:/keys -e REACHY_KEYS_DIR=/keys '
        '--entrypoint reachy-keys reachy-link/robot-io-reachy "$@"; }',
        "keys robot reachy-1 && keys trust 'GATEWAY_KEY'",
        'docker run --rm --network host --user "$(id -u):$(id -g)" --group-add audio --read-only --tmpfs /tmp --cap-drop ALL '
        "--security-opt no-new-privileges -e ROBOT_GATEWAY=GATEWAY -e PULSE_SERVER=unix:/run/pulse/native "
        '-v "$XDG_RUNTIME_DIR/pulse/native:/run/pulse/native" -v ~/.config/reachy-link:/keys:ro reachy-link/robot-io-reachy',
    ],
}
"""Commands that no test runs, by what they need."""
