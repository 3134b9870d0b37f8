"""Forms (multipart/form-data, RFC 7578) of exactly one part, the file, which is passed on as it comes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import PurePosixPath

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from experiments.service.problems import ServiceError
from preprocess.files import SUFFIXES

FIELD = "audio"
HOW = f"curl -F {FIELD}=@song.mp3 ADDRESS"
PLAIN = (b"", b"7bit", b"8bit", b"binary")  # Content-Transfer-Encoding
AROUND = 16 << 10  # bytes of a form that are not the file
LONGEST_HEADER, MOST_HEADERS, LONGEST_BOUNDARY = 4096, 8, 70  # the last by RFC 2046, section 5.1.1
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # what is wrong with a form is told to its sender


class Form:
    """Takes a form piece by piece.

    Args:
        content_type: Header of the request.
        begin: Called with the suffix of the file, as in `.mp3`, or nothing.
        write: Called with its bytes.

    Raises:
        ServiceError: The form has no boundary.
    """

    def __init__(self, content_type: str, begin: Callable[[str], object], write: Callable[[bytes], object]) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not 0 < len(boundary) <= LONGEST_BOUNDARY:
            raise ServiceError(400, f"the form has no boundary of 1 to {LONGEST_BOUNDARY} characters: {HOW}")
        self._begin, self._parts, self._ended = begin, 0, False
        self._name, self._value, self._headers = b"", b"", {}
        callbacks = {
            "on_part_begin": self._on_part,
            "on_header_field": self._on_name,
            "on_header_value": self._on_value,
            "on_header_end": self._on_header,
            "on_headers_finished": self._on_headers,
            "on_part_data": lambda data, start, end: write(data[start:end]),
            "on_end": self._on_end,
        }
        self._parser = MultipartParser(
            boundary, callbacks, max_header_count=MOST_HEADERS, max_header_size=LONGEST_HEADER
        )

    def write(self, data: bytes) -> None:
        """Take a piece.

        Raises:
            ServiceError: It is no such form.
        """
        if self._ended:  # what follows means nothing
            return
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise ServiceError(400, f"the form is damaged ({error}): {HOW}") from None

    def finish(self) -> None:
        """Say that there is no more.

        Raises:
            ServiceError: The form has not ended, or has no file.
        """
        if not self._ended:
            raise ServiceError(400, f"the form is cut off: its last boundary is missing; {HOW}")
        if not self._parts:
            raise ServiceError(422, f"the form has no file {FIELD!r}: {HOW}")

    def _on_part(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise ServiceError(422, f"the form has several parts: send one file, and options in the address; {HOW}")

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        name = self._name.lower()
        if name in self._headers:
            raise ServiceError(400, f"a part of the form has the header {_shown(name)} twice")
        self._headers[name], self._name, self._value = self._value, b"", b""

    def _on_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"")
        if kind != b"form-data" or name != FIELD.encode():
            raise ServiceError(422, f"the form has a part {_shown(name)}, expected is {FIELD!r}: {HOW}")
        content_type = self._headers.get(b"content-type", b"").decode("latin-1")
        file_name = options.get(b"filename")
        if file_name is None and not content_type:
            raise ServiceError(422, f"the part {FIELD!r} of the form is a text, not a file: {HOW}, with @")
        if self._headers.get(b"content-transfer-encoding", b"").lower() not in PLAIN:
            raise ServiceError(415, "the file is encoded (Content-Transfer-Encoding): send it as it is")
        self._begin(suffix_of(_text(file_name or b""), content_type))

    def _on_end(self) -> None:
        self._ended = True


def suffix_of(file_name: str, content_type: str) -> str:
    """The suffix of an audio file by its name, else by its type; empty where neither tells."""
    by_name = PurePosixPath(file_name).suffix.lower()
    if by_name in SUFFIXES:
        return by_name
    kind = content_type.partition(";")[0].strip().lower().partition("/")[2].removeprefix("x-")
    by_type = {"mpeg": ".mp3"}.get(kind, f".{kind}")
    return by_type if by_type in SUFFIXES else ""


def _text(name: bytes) -> str:
    return name.decode(errors="replace")


def _shown(name: bytes) -> str:
    return repr(_text(name[:80]))
