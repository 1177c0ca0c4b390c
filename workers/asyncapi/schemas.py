"""The JSON schemas of roles' types, under names of their own in one document."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

_PREFIX = "#/components/schemas/"


class Schemas:
    """Collects what `components/schemas` holds. Types of the same name may differ between roles,
    so that each carries what it was asked for as."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def put(self, name: str, schema: Mapping[str, Any]) -> None:
        """Keep `schema` as `name`."""
        self.found[name] = dict(schema)

    def of(
        self, kind: TypeAdapter[Any], name: str, *, mode: Literal["validation", "serialization"]
    ) -> dict[str, Any]:
        """A reference to the schema of `kind`, kept as `name`, the types inside as `name.TYPE`. A
        type that JSON Schema cannot describe takes anything and says so."""
        template = f"{_PREFIX}{name}.{{model}}"
        try:
            schema = kind.json_schema(ref_template=template, mode=mode)
        except PydanticInvalidForJsonSchema as error:
            schema = {"description": f"not to be told as a JSON schema: {error.message}"}
        for inner, definition in schema.pop("$defs", {}).items():
            self.found[f"{name}.{inner}"] = _plain(definition)
        self.found[name] = _plain(schema)
        return {"$ref": _PREFIX + name}


def _plain(schema: Any) -> Any:
    """`schema` as AsyncAPI takes it: there, a discriminator is the name of a property."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _plain(value) for key, value in schema.items()}
    told = found.get("discriminator")
    if isinstance(told, dict) and isinstance(told.get("propertyName"), str):
        found["discriminator"] = told["propertyName"]
    return found
