"""The document as one page of HTML that loads nothing from anywhere."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --mark: #3b82f6; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
code, pre { font: 14px/1.4 ui-monospace, monospace }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: 6px }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; padding: .3rem .6rem;
border-bottom: 1px solid var(--line); vertical-align: top }
.tag { background: var(--mark); color: #fff; border-radius: 4px; padding: 0 .4rem }
section { margin: 1.5rem 0 } summary { cursor: pointer }
"""


def page(document: Mapping[str, Any]) -> str:
    """The page of an AsyncAPI document as `workers.asyncapi.document` makes it."""
    info = document["info"]
    title = escape(info["title"])
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1><p>{escape(info['description'])}</p>",
        f"<p>Version {escape(info['version'])}, AsyncAPI {escape(document['asyncapi'])}.</p>",
        _servers(document.get("servers", {})),
        "<h2>Operations</h2>",
        *(_operation(n, each, document) for n, each in document["operations"].items()),
        "<h2>Channels</h2>",
        *(_channel(n, each, document) for n, each in document["channels"].items()),
        "<h2>Messages</h2>",
        *(_message(*each) for each in document["components"]["messages"].items()),
        "<h2>Schemas</h2>",
        *(_schema(*each) for each in document["components"]["schemas"].items()),
        "</body></html>",
    ]
    return "\n".join(filter(None, parts)) + "\n"


def _servers(servers: Mapping[str, Any]) -> str:
    rows = [(name, each["protocol"], each["host"]) for name, each in servers.items()]
    return "<h2>Server</h2>" + _table(("Name", "Protocol", "Host"), rows) if rows else ""


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    below = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{below}</table>"


def _operation(name: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    channel = _last(operation["channel"])
    address = document["channels"][channel]["address"] or "no fixed address"
    takes = ", ".join(_link("message", _last(each)) for each in operation["messages"])
    reply = operation.get("reply", {})
    gives = ", ".join(_link("message", _last(each)) for each in reply.get("messages", ()))
    return (
        f'<section id="operation-{escape(name)}"><h3><span class="tag">{operation["action"]}</span>'
        f" {escape(name)}</h3><p>{escape(operation.get('summary', ''))}</p>"
        f"<p>On {_link('channel', channel)}: <code>{escape(address)}</code></p>"
        f"<p>Message: {takes}{f'; reply: {gives}' if gives else ''}</p></section>"
    )


def _channel(name: str, channel: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    shared = document["components"]["parameters"]
    given = {
        key: shared[_last(each)] if "$ref" in each else each
        for key, each in channel.get("parameters", {}).items()
    }
    rows = [
        (key, each.get("description", ""), ", ".join(each.get("enum", ())))
        for key, each in given.items()
    ]
    return (
        f'<section id="channel-{escape(name)}"><h3>{escape(name)}</h3>'
        f"<p><code>{escape(channel['address'] or 'no fixed address')}</code></p>"
        f"<p>{escape(channel.get('description', ''))}</p>"
        + (_table(("Parameter", "What", "Values"), rows) if rows else "")
        + "</section>"
    )


def _message(name: str, message: Mapping[str, Any]) -> str:
    parts = [("payload", message["payload"])]
    if "headers" in message:
        parts.insert(0, ("headers", message["headers"]))
    told = ", ".join(f"{what}: {_link('schema', _last(part))}" for what, part in parts)
    return (
        f'<section id="message-{escape(name)}"><h3>{escape(name)}</h3>'
        f"<p>{escape(message['title'])}. {escape(message.get('summary', ''))}</p>"
        f"<p><code>{escape(message['contentType'])}</code>; {told}</p></section>"
    )


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    text = escape(json.dumps(schema, indent=2, ensure_ascii=False))
    return (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{text}</pre></details>"
    )


def _last(reference: Mapping[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _link(kind: str, name: str) -> str:
    return f'<a href="#{kind}-{escape(name)}">{escape(name)}</a>'
