"""What was found about one block of images, and the file that holds it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.errors import ConvscopeError, DataError
from convscope.files import Kind, parse_json, plain_json, read_arrays, write_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

MB = 1 << 20
HINT = "remove it: the command that wrote it judges these images again"
FILE = Kind(what="a record of a part", largest=1 << 36, damaged="T24", hint=HINT)
NUMBERS = Kind(what="the numbers of a part", largest=64 * MB, damaged="T24", not_finite=True)


@dataclass(frozen=True, eq=False)
class Record:
    """Numbers and arrays on a block of images.

    Attributes:
        numbers: What JSON can hold; NaN and infinity are allowed.
        arrays: By name.
    """

    numbers: dict[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def write(self, path: Path, place: str) -> None:
        """Write a file that is whole or not there, and that says which place it belongs to.

        Args:
            path: The file.
            place: Of which job and block it is.

        Raises:
            ResourceError: The disk says no.
        """
        import numpy as np

        text = json.dumps(self.numbers, ensure_ascii=True, sort_keys=True)
        arrays = {f"of.{name}": np.asarray(array) for name, array in self.arrays.items()}
        arrays["numbers"] = np.frombuffer(text.encode(), dtype=np.uint8)
        digest = np.frombuffer(_digest(arrays, place), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, sha256=digest, **arrays)  # type: ignore[arg-type]
        write_whole(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path, place: str) -> Record:
        """Read what `write` wrote.

        Args:
            path: The file.
            place: Of which job and block it has to be.

        Raises:
            DataError: T24, it is damaged, or of another place.
        """
        try:
            arrays = read_arrays(path, FILE)
        except ConvscopeError as error:
            error.hint = error.hint or HINT
            raise
        found = arrays.pop("sha256", None)
        if found is None or "numbers" not in arrays or found.tobytes() != _digest(arrays, place):
            raise DataError(
                "damaged: it is not what its SHA-256 says", code="T24", where=path, hint=HINT
            )
        numbers = parse_json(arrays.pop("numbers").tobytes(), NUMBERS, where=path)
        return cls(numbers, {name.removeprefix("of."): array for name, array in arrays.items()})


def joined(records: Sequence[Record], name: str) -> NDArray[Any]:
    """An array of all blocks, one behind the other.

    Args:
        records: Of all blocks, in order.
        name: Of the array.
    """
    import numpy as np

    return np.concatenate([record.arrays[name] for record in records])


def _digest(arrays: Mapping[str, NDArray[Any]], place: str) -> bytes:
    digest = hashlib.sha256(place.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.digest()


def canonical(value: Any) -> str:
    """JSON of which there is one spelling, for hashes and comparisons."""
    return json.dumps(plain_json(value), ensure_ascii=True, sort_keys=True, separators=(",", ":"))
