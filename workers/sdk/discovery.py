"""Finds roles in folders of Python files, by the decorator; there is no registry to edit."""

import hashlib
import importlib.util
import logging
import sys
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from contracts.topics import near
from workers.sdk.errors import RoleError, UnknownRole
from workers.sdk.role import MARK, Role

_log = logging.getLogger(__name__)


def discover(folders: Sequence[Path], *, wanted: Collection[str] = ()) -> dict[str, Role]:
    """Every role declared in the Python files of `folders`, by name.

    Files that begin with `_` or `.` or `test_` are left out, sub-folders are not entered. A
    folder that does not exist is left out. Raises `RoleError` for a file that does not import
    (with file and line) and for two roles of one name (with both places). Who knows which roles
    are `wanted` is not concerned by files that do not import, as long as those are found.
    """
    found: dict[str, Role] = {}
    broken: list[RoleError] = []
    for file in _files(folders):
        try:
            roles = _roles_of(_load(file))
        except RoleError as error:
            broken.append(error)
            continue
        for role in roles:
            _add(found, role)
    if broken and not (wanted and found.keys() >= set(wanted)):
        raise broken[0]
    for each in broken:
        _log.warning("left out: %s (%s)", each.message, each.details)
    return found


def pick(roles: Mapping[str, Role], names: Iterable[str]) -> list[Role]:
    """The named roles, or `UnknownRole` that names the nearest."""
    return [_get(roles, name) for name in names]


def _get(roles: Mapping[str, Role], name: str) -> Role:
    if name in roles:
        return roles[name]
    close = near(name, roles)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(roles))}"
    raise UnknownRole(
        f"there is no role {name!r}",
        details=hint,
        actions=("write the name as declared", "or name its folder in MUSTER_ROLES"),
    )


def _files(folders: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for folder in folders:
        if folder.is_file():
            files.append(folder.resolve())
        elif folder.is_dir():
            names = sorted(folder.glob("*.py"))
            files += [f.resolve() for f in names if not f.name.startswith(("_", ".", "test_"))]
    return list(dict.fromkeys(files))


def _load(file: Path) -> ModuleType:
    """Import a file under a name of its own; it may import its neighbours."""
    name = f"muster_roles_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise RoleError(f"{file} cannot be imported", details="it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except RoleError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _broken(file, error) from error
    return module


def _roles_of(module: ModuleType) -> list[Role]:
    """The roles declared in this very file; what it imports from others is theirs."""
    marked = [getattr(value, MARK, None) for value in vars(module).values()]
    own = [r for r in marked if isinstance(r, Role) and _same(r.file, module.__file__)]
    return sorted(dict.fromkeys(own), key=lambda role: role.line)


def _same(file: Path, other: str | None) -> bool:
    return other is not None and file.resolve() == Path(other).resolve()


def _add(found: dict[str, Role], role: Role) -> None:
    other = found.get(role.name)
    if other is not None:
        raise RoleError(
            f"two roles are called {role.name!r}",
            details=f"{other.file}:{other.line} and {role.file}:{role.line}",
            actions=("rename one of them", "or take one folder out of MUSTER_ROLES"),
        )
    found[role.name] = role


def _broken(file: Path, error: BaseException) -> RoleError:
    return RoleError(
        f"a role in {file} does not import",
        details=f"{file}:{_line(file, error)}: {type(error).__name__}: {error}",
        actions=("correct the file", "or take its folder out of MUSTER_ROLES"),
    )


def _line(file: Path, error: BaseException) -> int:
    """The line of `file` where it broke: a syntax error's own, else the last frame in it."""
    if isinstance(error, SyntaxError) and error.lineno and _same(file, error.filename):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 0 for f in reversed(frames) if _same(file, f.filename)), 0)
