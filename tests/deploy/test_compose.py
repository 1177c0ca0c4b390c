"""The compose files: what each promise asks of the servers is set in them. They are parsed, not
run: where these tests run there is no container engine."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import nats_server

_FOLDER = Path(__file__).resolve().parents[2] / "deploy"
BROKERS = ("nats", "redis", "rabbitmq", "kafka")
WITH_DATABASE = ("rabbitmq", "kafka")


def compose(broker: str) -> dict[str, Any]:
    """The file of a broker."""
    text = (_FOLDER / f"compose.{broker}.yaml").read_text(encoding="utf-8")
    found = yaml.safe_load(text)
    assert isinstance(found, dict)
    return found


def services(broker: str) -> dict[str, dict[str, Any]]:
    """Its services by name."""
    found = compose(broker)["services"]
    assert isinstance(found, dict)
    return found


def lines(text: str) -> list[str]:
    """Settings of a file, without comments and indentation."""
    return [line.strip() for line in text.splitlines() if line.strip() and "#" not in line]


def test_there_is_a_file_for_each_broker() -> None:
    found = {path.name for path in _FOLDER.glob("compose.*.yaml")}
    assert found == {f"compose.{broker}.yaml" for broker in BROKERS}


@pytest.mark.parametrize("broker", BROKERS)
def test_the_services_are_the_broker_and_the_database_it_needs(broker: str) -> None:
    expected = {broker, "postgres"} if broker in WITH_DATABASE else {broker}
    assert set(services(broker)) == expected


@pytest.mark.parametrize("broker", BROKERS)
def test_every_service_is_pinned_looked_after_and_kept(broker: str) -> None:
    """An exact version, a health check, a start after a crash, time to end, a volume of its own;
    nothing listens beyond this machine, and no password is written down."""
    volumes = compose(broker)["volumes"]
    for name, service in services(broker).items():
        assert re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?(-alpine)?", service["image"]), name
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
        assert service["restart"] == "unless-stopped"
        assert int(service["stop_grace_period"].removesuffix("s")) >= 60
        (volume,) = service["volumes"]
        assert volume.partition(":")[0] in volumes
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for key, value in service.get("environment", {}).items():
            if "PASS" in key or "AUTH" in key:
                assert value.startswith("${MUSTER_"), f"{name}: {key}"


def test_nats_syncs_every_write_and_takes_the_greatest_message() -> None:
    settings = lines(compose("nats")["configs"]["server"]["content"])
    assert "sync_interval: always" in settings
    assert "store_dir: /data" in settings
    assert services("nats")["nats"]["volumes"] == ["store:/data"]
    assert "max_payload: 2MB" in settings
    assert nats_server.MAX_PAYLOAD_BYTES <= 2 * 1024 * 1024
    assert any(line.startswith("authorization ") for line in settings)


def test_nats_takes_its_configuration(tmp_path: Path) -> None:
    """As the container would get it, with a password from the environment."""
    config = tmp_path / "muster.conf"
    config.write_text(compose("nats")["configs"]["server"]["content"].replace("$$", "$"))
    done = subprocess.run(
        [nats_server.locate().path, "-t", "-c", config],
        env={"MUSTER_NATS_PASSWORD": "s3cret"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_redis_syncs_every_write_and_evicts_nothing() -> None:
    command = services("redis")["redis"]["command"]
    names = [name.removeprefix("--") for name in command[1::2]]
    given = dict(zip(names, command[2::2], strict=True))
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
        "dir": "/data",
    }
    assert wanted.items() <= given.items()
    assert int(given["maxmemory"].removesuffix("gb")) >= 1
    assert services("redis")["redis"]["volumes"] == ["store:/data"]


def test_rabbitmq_keeps_quorum_queues_without_a_delivery_limit() -> None:
    """Of 3.x, since 4 is not tried; its name does not change, or its data would."""
    server = services("rabbitmq")["rabbitmq"]
    assert server["image"].startswith("rabbitmq:3.")
    assert server["hostname"]
    settings = dict(
        line.split(" = ", 1) for line in lines(compose("rabbitmq")["configs"]["server"]["content"])
    )
    assert settings["default_queue_type"] == "quorum"
    assert int(settings["consumer_timeout"]) >= 60_000
    assert not [name for name in settings if "delivery" in name]
    assert "disk_free_limit.absolute" in settings
    assert server["volumes"] == ["rabbitmq:/var/lib/rabbitmq"]


def test_kafka_flushes_every_record_and_elects_no_leader_that_lacks_some() -> None:
    """One replica: in sync is itself, so that each record has to be flushed."""
    given = services("kafka")["kafka"]["environment"]
    wanted = {
        "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": "1",
        "KAFKA_MIN_INSYNC_REPLICAS": "1",
        "KAFKA_DEFAULT_REPLICATION_FACTOR": "1",
        "KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE": "false",
        "KAFKA_LOG_RETENTION_MS": "-1",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    assert wanted.items() <= given.items()
    (volume,) = services("kafka")["kafka"]["volumes"]
    assert volume.partition(":")[2] == given["KAFKA_LOG_DIRS"]
    assert all(isinstance(value, str) for value in given.values()), "YAML would change them"


@pytest.mark.parametrize("broker", WITH_DATABASE)
def test_the_bus_database_syncs_every_commit(broker: str) -> None:
    command = services(broker)["postgres"]["command"]
    assert {"fsync=on", "synchronous_commit=on", "full_page_writes=on"} <= set(command)
