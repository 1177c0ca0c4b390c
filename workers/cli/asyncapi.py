"""`muster asyncapi`: what this folder's fleet takes and answers, for other programs and people."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli import output
from workers.cli.errors import WrongUsage
from workers.cli.options import Given

if TYPE_CHECKING:
    from workers.settings import Loaded


def asyncapi(
    ctx: typer.Context,
    html: Annotated[bool, typer.Option("--html", help="As a page that loads nothing.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write it.")
    ] = None,
) -> None:
    """Print the AsyncAPI 3 document of this folder's roles: YAML, with --json JSON.

    Nothing is asked of a bus. Passwords and users are left out of its address.
    """
    given = Given.of(ctx)
    if html and given.json:
        raise WrongUsage(
            "--html and --json do not go together",
            details="the document has one form at a time",
            actions=("leave one out",),
        )
    text = _text(_document(given.loaded()), html=html, as_json=given.json)
    if out is None:
        output.say(text.rstrip("\n"))
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WrongUsage(
            f"{out} cannot be written",
            details=error.strerror or str(error),
            actions=("name another file",),
        ) from error
    output.note(f"wrote {out}")


def _document(loaded: "Loaded") -> dict[str, Any]:
    from importlib.metadata import version

    from bus.errors import Unreachable
    from workers.asyncapi.addresses import addresses_of, server_of
    from workers.asyncapi.document import About, document
    from workers.wiring import all_roles, bus_url

    try:
        url = bus_url(loaded)
    except Unreachable:  # none is configured, and the embedded one does not run
        url = None
    name = loaded.settings.fleet.name
    about = About(
        fleet=name,
        version=version("muster"),
        addresses=addresses_of(url, name),
        server=None if url is None else server_of(url),
    )
    return document(all_roles(loaded).values(), about)


def _text(document: dict[str, Any], *, html: bool, as_json: bool) -> str:
    if html:
        from workers.asyncapi.page import page

        return page(document)
    if as_json:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    import yaml

    plain = json.loads(json.dumps(document))  # words of enumerations as text
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return text
