"""The AsyncAPI document: valid by the specification, and true of what travels."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
import yaml
from pydantic import BaseModel, Field

from bus.backend import NORMAL
from bus.backends.nats.names import names_of
from contracts.envelope import Envelope, Priority, encode
from contracts.events import Event, Kind, encode_events
from contracts.results import Result, Status
from tests.asyncapi.specification import schema
from tests.cli.running import GREETER, Muster
from workers.asyncapi.addresses import NatsAddresses, addresses_of, server_of, words_of
from workers.asyncapi.document import SPECIFICATION, About, document
from workers.asyncapi.page import page
from workers.sdk.context import Context
from workers.sdk.role import MARK, Role, role


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    friend: "Dog | None" = None


class Ticket(BaseModel):
    text: str
    animal: Annotated[Cat | Dog, Field(discriminator="kind")] = Cat()


class Unspeakable:
    pass


def _role(kind: Any, gives: Any, name: str, *listens: str) -> Role:
    async def handle(payload: Any, ctx: Context) -> Any:
        """Answer <b>everything</b>."""

    handle.__annotations__ = {"payload": kind, "ctx": Context, "return": gives}
    made: Role = getattr(role(name, listens=listens)(handle), MARK)
    return made


def _roles() -> list[Role]:
    return [
        _role(Ticket, dict[str, int], "triager", "support.#", "mail.*.new"),
        _role(Any, Any, "archivist", "support.#"),
        _role(Dog, list[Ticket], "called"),
        _role(tuple[int, str], None, "listener", "muster.events"),
    ]


def _document(url: str | None = "nats://ada:hidden@bus.example:4222") -> dict[str, Any]:
    about = About(
        fleet="demo",
        version="1.2.3",
        addresses=addresses_of(url, "demo"),
        server=None if url is None else server_of(url),
    )
    return document(_roles(), about)


@pytest.fixture(scope="session")
def specification(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a document is held against."""
    return schema(SPECIFICATION, tmp_path_factory.mktemp("asyncapi"))


@pytest.mark.parametrize(
    "url", ["nats://bus:4222", "kafka://bus:9092", "redis://bus/3", "amqp://bus", None]
)
def test_the_document_is_valid_by_the_specification(
    specification: dict[str, Any], url: str | None
) -> None:
    validator = jsonschema.Draft7Validator(specification)
    assert [error.message for error in validator.iter_errors(_document(url))] == []


def test_the_specification_refuses_what_is_wrong(specification: dict[str, Any]) -> None:
    wrong = _document()
    wrong["operations"]["triager.receive.1"]["action"] = "take"
    assert not jsonschema.Draft7Validator(specification).is_valid(wrong)


def test_every_reference_leads_somewhere() -> None:
    told = _document()
    references = set(_references(told))
    assert len(references) > 20
    for reference in references:
        place: Any = told
        for word in reference.removeprefix("#/").split("/"):
            place = place[word]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for each in value.values() for found in _references(each)]
    return [found for each in value for found in _references(each)] if type(value) is list else []


def test_nobody_learns_who_may_use_the_bus() -> None:
    text = json.dumps(_document())
    assert "hidden" not in text
    assert "ada" not in text
    assert _document()["servers"]["bus"] == {"host": "bus.example:4222", "protocol": "nats"}


def test_roles_on_one_pattern_share_its_channel() -> None:
    channels = _document()["channels"]
    assert set(channels["support._rest"]["messages"]) == {"triager.task", "archivist.task"}
    assert set(channels["mail._any.new"]["messages"]) == {"triager.task"}
    assert set(channels["muster.events"]["messages"]) == {"listener.task", "EventBatch"}
    assert "muster.role.called" in channels


def test_an_address_is_the_subject_on_which_a_task_travels() -> None:
    """What stands for lane, slice and words gives the very subject the bus publishes on."""
    address = NatsAddresses("demo").topic("mail.*.new")["address"]
    told = address.format(lane="normal", slice="0", word1="spam")
    assert told == names_of("demo").subject("mail.spam.new", NORMAL)


@pytest.mark.parametrize(
    ("url", "address", "outcomes"),
    [
        ("kafka://bus", "muster.demo.in", None),
        ("redis://bus", "{tag}:in", "{tag}:kv:outcome/{reply}/{task}"),
        ("amqp://bus", "{lane}.{slice}.mail.{word1}.new", None),
    ],
)
def test_an_address_is_where_another_program_puts_a_task(
    url: str, address: str, outcomes: str | None
) -> None:
    told = _document(url)
    (mail,) = [c for c in told["channels"].values() if c.get("title") == "mail.*.new"]
    assert mail["address"] == address
    ends = [c["address"] for c in told["channels"].values() if c["title"] == "How tasks ended"]
    assert ends == [outcomes]
    for channel in told["channels"].values():
        named = set(re.findall(r"{(\w+)}", channel.get("address") or ""))
        assert named == set(channel.get("parameters", {}))


def test_open_words_of_a_pattern_are_parameters() -> None:
    address, parameters = words_of("a.*.b.*.#")
    assert address == "a.{word1}.b.{word2}.{rest}"
    assert list(parameters) == ["word1", "word2", "rest"]


def test_real_messages_fit_the_schemas() -> None:
    told = _document()
    task = Envelope(
        id="t1",
        topic="support.x",
        source="/test",
        time=1.5,
        body=b"{}",
        tenant="acme",
        priority=Priority.HIGH,
        deadline=1e9,
        budget=5,
        reply="r",
        correlation="c",
        subjects=("a",),
    )
    _check(told, "TaskHeaders", encode(task))
    event = Event(
        kind=Kind.SUCCEEDED,
        at=2.0,
        task="t1",
        topic="support.x",
        role="triager",
        copy=0,
        attempt=1,
        worker="w",
        pid=1,
    )
    _check(told, "EventBatch", json.loads(encode_events([event])))
    ended = Result(
        id="t1",
        status=Status.SUCCEEDED,
        role="triager",
        worker="w",
        fence=0,
        attempt=1,
        finished=2.0,
        value={"a": 1},
    )
    _check(told, "triager.outcome", json.loads(ended.encode()))
    _check(told, "triager.task", {"text": "x", "animal": {"kind": "dog", "friend": {}}})
    with pytest.raises(jsonschema.ValidationError):
        _check(told, "triager.task", {"animal": {"kind": "cat"}})


def _check(told: dict[str, Any], name: str, value: Any) -> None:
    held = {"components": told["components"], "$ref": f"#/components/schemas/{name}"}
    jsonschema.Draft7Validator(held).validate(value)


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[tuple[str, str | None]] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [(n, v) for n, v in attrs if n in {"src", "href"} and v and v[0] != "#"]


def test_the_page_loads_nothing_and_keeps_words_as_words() -> None:
    html = page(_document())
    reader = _Loads()
    reader.feed(html)
    assert reader.loaded == []
    assert not reader.tags & {"script", "link", "img", "iframe", "b"}
    assert "Answer &lt;b&gt;everything&lt;/b&gt;." in html
    for name in ("triager.receive.1", "support._rest", "called.outcome"):
        assert name in html


@pytest.fixture
def muster(tmp_path: Path) -> Muster:
    """The command in a folder with a role."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "greeter.py").write_text(GREETER)
    return Muster(tmp_path, MUSTER_BUS_URL="nats://ada:hidden@bus.example:4222")


def test_the_command_prints_yaml_json_and_a_page(
    muster: Muster, specification: dict[str, Any]
) -> None:
    """Nothing listens at the address of the bus: nothing is asked there."""
    told = yaml.safe_load(muster("asyncapi").out)
    assert told == muster("asyncapi", "--json").json
    jsonschema.Draft7Validator(specification).validate(told)
    assert "greeter.receive" in told["operations"]
    ended = muster("asyncapi", "--html", "--out", "fleet.html")
    assert (ended.code, ended.out) == (0, "")
    assert "greeter.receive" in (muster.folder / "fleet.html").read_text()


def test_the_command_refuses_what_cannot_be(muster: Muster) -> None:
    assert muster("asyncapi", "--html", "--json").code == 2
    ended = muster("asyncapi", "--out", "no/such/folder/x.yaml")
    assert (ended.code, ended.lines[0]) == (2, "no/such/folder/x.yaml cannot be written")
