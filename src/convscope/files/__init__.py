"""The one door for small files: how they are opened, understood and written.

Whoever reads a file goes through here. It must be a regular file (a pipe, a device or a socket
would hang or never end), no larger and no deeper than its `Kind` may be, and whatever is wrong
with it becomes one error of the family in `convscope.errors`.
"""

from __future__ import annotations

from convscope.files._arrays import (
    ArrayHeader,
    check_tensor_file,
    most_inflated,
    read_array,
    read_array_header,
    read_arrays,
)
from convscope.files._door import (
    ARRAYS,
    CLASS_NAMES,
    DRAWING,
    ENVIRONMENT,
    MANIFEST,
    METRICS,
    MODEL_CONFIG,
    PICTURE,
    REPORT,
    RESULT,
    SETTINGS,
    STATE,
    TENSORS,
    Kind,
    checked_path,
    decoded,
    of_system,
    opened,
    read_bytes,
    read_text,
    usable_path,
)
from convscope.files._locking import locked
from convscope.files._texts import (
    loads_json,
    parse_json,
    parse_lines,
    parse_toml,
    parse_xml,
    plain_json,
    read_json,
    read_json_table,
    read_toml,
)
from convscope.files._writing import (
    disk_errors,
    missing_parents,
    whole_folder,
    write_durably,
    write_whole,
)

__all__ = [
    "ARRAYS",
    "CLASS_NAMES",
    "DRAWING",
    "ENVIRONMENT",
    "MANIFEST",
    "METRICS",
    "MODEL_CONFIG",
    "PICTURE",
    "REPORT",
    "RESULT",
    "SETTINGS",
    "STATE",
    "TENSORS",
    "ArrayHeader",
    "Kind",
    "check_tensor_file",
    "checked_path",
    "decoded",
    "disk_errors",
    "loads_json",
    "locked",
    "missing_parents",
    "most_inflated",
    "of_system",
    "opened",
    "parse_json",
    "parse_lines",
    "parse_toml",
    "parse_xml",
    "plain_json",
    "read_array",
    "read_array_header",
    "read_arrays",
    "read_bytes",
    "read_json",
    "read_json_table",
    "read_text",
    "read_toml",
    "usable_path",
    "whole_folder",
    "write_durably",
    "write_whole",
]
