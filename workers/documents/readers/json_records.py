"""JSON and JSON lines: `key: value` at the raw line of each, records together, arrays as tables.

An object gives its plain members as one passage; what is nested in it is found below a heading
that names the path and what the objects above call themselves (`name`, `id`, `title`).
"""

from workers.documents.errors import Unreadable
from workers.documents.readers.content import Content, column_names, one_line, row_text
from workers.documents.readers.json_scan import Node, scan

_IDENTITY = ("name", "title", "id", "label", "key", "product", "project", "code")
_TOGETHER = 12
_COLUMNS = 60


def read(file: str, text: str) -> Content:
    """Read one file's text. Raises `Unreadable` when it is something else."""
    content = Content()
    if file.lower().endswith((".jsonl", ".ndjson")):
        root = _json_lines(file, text)
    else:
        root = _scan(file, text, 1)
    stem = file.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    content.title = _identity(root) or stem
    _walk(content, root, "", stem)
    return content


def _json_lines(file: str, text: str) -> Node:
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    root = Node(1, shape="array")
    for number, line in lines:
        node = _scan(file, line, number)
        node.key = f"[{len(root.children)}]"
        root.children.append(node)
    return root


def _scan(file: str, text: str, line: int) -> Node:
    try:
        return scan(text, line)
    except ValueError as error:
        raise Unreadable(file, f"is not JSON that can be read ({error})") from error


def _walk(content: Content, node: Node, path: str, table: str) -> None:
    if node.scalar:
        content.add([f"{node.key}: {one_line(node.text)}"], [node.line], path, "record")
    elif _is_table(node):
        _add_table(content, node, path, table)
    else:
        _members(content, node, path)


def _members(content: Content, node: Node, path: str) -> None:
    plain = [child for child in node.children if child.scalar]
    step = _TOGETHER if len(plain) > _TOGETHER else len(plain) or 1
    for start in range(0, len(plain), step):
        some = plain[start : start + step]
        lines = [f"{child.key}: {one_line(child.text)}" for child in some]
        content.add(lines, [child.line for child in some], path, "record")
    for child in node.children:
        if not child.scalar:
            _walk(content, child, _below(path, child), child.key)


def _below(path: str, child: Node) -> str:
    name = _identity(child)
    step = f"{child.key} ({name})" if name else child.key
    return f"{path} › {step}" if path else step


def _identity(node: Node) -> str:
    named = {child.key.lower(): child.text for child in node.children if child.scalar}
    return next((one_line(named[key])[:80] for key in _IDENTITY if named.get(key)), "")


def _is_table(node: Node) -> bool:
    """An array of at least two objects whose members are mostly plain."""
    rows = node.children
    if node.shape != "array" or len(rows) < 2 or any(row.shape != "object" for row in rows):
        return False
    members = sum(len(row.children) for row in rows)
    plain = sum(child.scalar for row in rows for child in row.children)
    return members > 0 and plain >= 0.7 * members


def _add_table(content: Content, node: Node, path: str, name: str) -> None:
    keys: dict[str, None] = {}
    for row in node.children:
        keys.update((child.key, None) for child in row.children if child.scalar)
    columns = list(keys)[:_COLUMNS]
    rows = [[_cell(row, column) for column in columns] for row in node.children]
    start = len(content.passages)
    lines = [next((c.line for c in row.children if c.scalar), row.line) for row in node.children]
    content.add_table(column_names(columns), rows, lines, name, path)
    _spread(content, start, node, columns)
    for row in node.children:
        for child in row.children:
            if not child.scalar:
                _walk(content, child, _below(_below(path, row), child), child.key)


def _spread(content: Content, start: int, node: Node, columns: list[str]) -> None:
    """Give rows that stand on several raw lines as records, one member to a line."""
    rows = [row for row in node.children if row_text(columns, [_cell(row, c) for c in columns])]
    passages = content.passages[start:]
    del content.passages[start:]
    for row, passage in zip(rows, passages, strict=True):
        plain = [child for child in row.children if child.scalar]
        if len({child.line for child in plain}) < 2:
            content.passages.append(passage)
            continue
        lines = [f"{child.key}: {one_line(child.text)}" for child in plain]
        content.add(lines, [child.line for child in plain], passage.heading, "record")


def _cell(row: Node, column: str) -> str:
    return next((c.text for c in row.children if c.scalar and c.key == column), "")
