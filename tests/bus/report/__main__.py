"""`make conformance`: run what shows a promise, then write `docs/conformance.md`."""

import platform
import sys
import tempfile
import time
from pathlib import Path

from deploy.brokers import BROKERS
from tests.bus.report import counts, document
from tests.bus.sabotage import catches
from tests.bus.sabotage.registry import sabotages
from tests.promises import ROOT


def main() -> None:
    """Write the document, unless a test failed, was skipped, or missed its sabotage. `--whole` runs
    all tests there are, of which those of the sabotages are some."""
    whole = sys.argv[1:] == ["--whole"]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        there = counts.collected(Path(folder))
        if not whole:
            _look_for_missed(Path(folder))
    shown = counts.run(whole=whole)
    if shown != there:
        sys.exit("some tests did not run; is every server there? see above")
    seconds = time.perf_counter() - start
    ran = (
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {shown.tests} tests and "
        f"{len(sabotages())} sabotages in {seconds:.0f} s; Python {platform.python_version()}, "
        f"{_servers()}"
    )
    document.PATH.write_text(document.text(shown.of, sabotages(), ran), encoding="utf-8")
    print(f"written: {document.PATH.relative_to(ROOT)}")


def _look_for_missed(folder: Path) -> None:
    caught = catches.run(folder)
    missed = [end for s in sabotages() for end in (*caught.unsound(s), *caught.missed(s))]
    if missed:
        sys.exit("not caught:\n" + "\n".join(map(str, missed)))
    print(catches.table(sabotages()))


def _servers() -> str:
    """What the tests ran on."""
    return ", ".join(f"{program.title} {program.release()}" for program in BROKERS.values())


if __name__ == "__main__":
    main()
