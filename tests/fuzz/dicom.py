"""DICOM files whose elements are odd but well written."""

from __future__ import annotations

import struct

import pydicom
from hypothesis import strategies as st

from tests.fuzz.corpus import dicom, header

NAMES = [
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "PlanarConfiguration",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "SOPInstanceUID",
    "PatientSex",
    "PatientAge",
    "ViewPosition",
    "StudyDate",
    "BurnedInAnnotation",
    "SpecificCharacterSet",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "PixelData",
]
RAW = [
    b"",
    b" ",
    b"\0\0",
    b"\1\0",
    b"\xff\xff",
    b"-1",
    b"0 ",
    b"1e999 ",
    b"nan ",
    b"1\\2 ",
    b"abc ",
    b"9" * 64,
    b"\xff\xfe\x80 ",
]
VRS = ["US", "SS", "UL", "DS", "IS", "CS", "LO", "AS", "UI", "OW", "OB", "UN", "SQ", "FD", "AT", "DA", "PN", "XX"]
SYNTAXES = [
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.1.99",
]


LONG = ("OB", "OW", "SQ", "UN")  # kinds whose length has four bytes


@st.composite
def odd_headers(draw: st.DrawFn) -> bytes:
    """A film with one to three elements whose bytes or kind are odd, and at times another transfer syntax."""
    right = dicom()
    start = 144 + struct.unpack("<I", right[140:144])[0]  # after the preamble and the elements of group 2
    elements = {element.tag: (element.VR, _content(element)) for element in header()}
    for _ in range(draw(st.integers(1, 3))):
        tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(draw(st.sampled_from(NAMES))))
        if draw(st.integers(0, 3)) == 0:
            elements.pop(tag, None)
        else:
            elements[tag] = draw(st.sampled_from(VRS)), draw(st.sampled_from(RAW))
    body = b"".join(_written(tag, *elements[tag]) for tag in sorted(elements))
    meta = right[:start]
    if draw(st.integers(0, 4)) == 0:
        meta = meta.replace(b"1.2.840.10008.1.2.1\0", draw(st.sampled_from(SYNTAXES)).encode()[:19].ljust(20, b"\0"), 1)
    return meta + body


def _content(element: pydicom.DataElement) -> bytes:
    """The bytes of an element of `header`: text, 16-bit numbers or pixels."""
    if isinstance(element.value, bytes):
        return element.value
    if element.VR == "US":
        return struct.pack("<H", element.value)
    text = str(element.value).encode()
    return text + b"\0" * (len(text) % 2)


def _written(tag: int, vr: str, content: bytes) -> bytes:
    """An element in explicit little-endian encoding."""
    content += b"\0" * (len(content) % 2)
    length = struct.pack("<HI", 0, len(content)) if vr in LONG else struct.pack("<H", len(content))
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr.encode() + length + content
