"""Files that are made to harm whoever reads them."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile

import numpy as np
import soundfile

SAMPLES = np.random.default_rng(1).integers(-9000, 9000, 16_000).astype("<i2").tobytes()


def wav(
    rate: int = 16_000, channels: int = 1, bits: int = 16, code: int = 1, data: bytes = SAMPLES, size: int | None = None
) -> bytes:
    """A WAV file with whatever header; `size`: what it says of the length of its samples."""
    align = channels * bits // 8
    about = struct.pack("<HHIIHH", code, channels % 65536, rate, rate * align % 2**32, align % 65536, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(about)) + about
    body += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", min(len(body) if size is None else size + 36, 2**32 - 1)) + body


def compressed_silence(seconds: int) -> bytes:
    """Much in little: FLAC of zeros."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(seconds * 8000, np.int16), 8000, format="FLAC")
    return file.getvalue()


def floats(value: float) -> bytes:
    """A WAV file of one number."""
    return wav(bits=32, code=3, data=np.full(16_000, value, "<f4").tobytes())


def tar_with_link() -> bytes:
    """An archive of a link to a file of the system."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        link = tarfile.TarInfo("song.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return file.getvalue()


def zip_of_zeros() -> bytes:
    """An archive of 50 MB in 50 kB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("song.wav", bytes(50_000_000))
    return file.getvalue()


def atom(kind: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    """A box of MP4; `size`: what it says of itself."""
    return struct.pack(">I", len(content) + 8 if size is None else size) + kind + content


def playlists(audio: str, address: str) -> dict[str, bytes]:
    """Files by name that would have a player open others: an audio file of this machine, and an address."""
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="x">'
        '<Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    entity = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{}">]><MPD><Period>&e;</Period></MPD>'
    texts = {
        "an HLS playlist of a local file": ("a.m3u8", hls.format(f"file://{audio}")),
        "an HLS playlist named mp3": ("b.mp3", hls.format(audio)),
        "an HLS playlist of an address": ("c.m3u8", hls.format(address)),
        "an HLS playlist named mp3 of an address": ("d.mp3", hls.format(address)),
        "an HLS key from an address": (
            "e.mp3",
            hls.format(audio).replace("#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{address}"\n#EXTINF', 1),
        ),
        "a list of pieces": ("f.mp3", f"ffconcat version 1.0\nfile {audio}\n"),
        "a list of pieces of an address": ("g.mp3", f"ffconcat version 1.0\nfile {address}\n"),
        "a list of pieces beside it": ("h.mp3", "ffconcat version 1.0\nfile 0.wav\nfile 0\nfile lock\n"),
        "a plain playlist": ("i.m3u", f"{audio}\n{address}\n"),
        "a PLS playlist": ("j.pls", f"[playlist]\nFile1={audio}\nFile2={address}\nNumberOfEntries=2\n"),
        "a DASH manifest": ("k.mp3", dash.format(address)),
        "a DASH manifest of a local file": ("l.mp4", dash.format(f"file://{audio}")),
        "XML with an external entity": ("m.mp3", entity.format(address)),
        "SDP of a stream": ("n.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n"),
        "an SVG picture": (
            "o.mp3",
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
            f'<image xlink:href="{address}"/></svg>',
        ),
        "a cue sheet": ("p.cue", f'FILE "{audio}" MP3\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n'),
        "an ASX playlist": ("q.wma", f'<asx version="3.0"><entry><ref href="{address}"/></entry></asx>'),
        "a RealMedia pointer": ("r.ra", f"{address}\n"),
    }
    reference = atom(b"dref", bytes(4) + struct.pack(">I", 1) + atom(b"alis", bytes(4) + audio.encode()))
    movie = atom(b"ftyp", b"qt  \0\0\0\0") + atom(
        b"moov", atom(b"trak", atom(b"mdia", atom(b"minf", atom(b"dinf", reference))))
    )
    return {kind: (name, text.encode()) for kind, (name, text) in texts.items()} | {
        "a movie whose samples are in another file": ("s.mov", movie)
    }


def damaged() -> dict[str, tuple[str, bytes]]:
    """What claims to be audio, by what is wrong with it: its name and content."""
    whole = wav()
    return {
        "an hour of silence in FLAC": ("a.flac", compressed_silence(3600)),
        "24 hours in the header, 1 kB in the file": ("b.wav", wav(data=SAMPLES[:1000], size=2_764_800_000)),
        "a rate of 0 Hz": ("c.wav", wav(rate=0)),
        "a rate of 1 Hz": ("aa.wav", wav(rate=1)),
        "a rate of 2 GHz": ("ab.wav", wav(rate=2**31 - 1)),
        "no channels": ("d.wav", wav(channels=0)),
        "65,535 channels": ("e.wav", wav(channels=65_535)),
        "0 bits": ("f.wav", wav(bits=0)),
        "NaN": ("g.wav", floats(float("nan"))),
        "infinity": ("h.wav", floats(float("inf"))),
        "numbers far over full scale": ("i.wav", floats(1e30)),
        "a header chunk of 4 GB": ("j.wav", whole[:16] + b"\xff\xff\xff\xff" + whole[20:]),
        "an unknown chunk of 4 GB": ("k.wav", whole[:12] + b"junk\xff\xff\xff\xff" + whole[12:]),
        "a header alone": ("l.wav", whole[:44]),
        "half a header": ("m.wav", whole[:20]),
        "an ID3 tag of 256 MB": ("n.mp3", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(100)),
        "nothing but the first bytes of MP3 frames": ("o.mp3", b"\xff\xfb\x90\x00" * 5000),
        "FLAC that is all header": ("p.flac", b"fLaC" + (b"\1\xff\xff\xff" + bytes(60)) * 20),
        "Ogg pages of nothing": ("q.ogg", (b"OggS\0\2" + bytes(20) + b"\1\0") * 500),
        "an AIFF of negative lengths": ("r.aif", b"FORM\xff\xff\xff\xffAIFFCOMM\xff\xff\xff\xf0" + bytes(64)),
        "boxes of MP4 in one another": ("s.m4a", atom(b"ftyp", b"M4A ") + atom(b"moov", size=8) * 2000),
        "a box of MP4 of 16 EB": ("t.m4a", atom(b"ftyp", b"M4A ") + atom(b"moov", b"\x7f" + b"\xff" * 7, size=1)),
        "a tar with a link": ("u.wav", tar_with_link()),
        "a zip bomb": ("v.mp3", zip_of_zeros()),
        "a program": ("w.wav", b"\x7fELF" + bytes(500)),
        "a web page": ("x.mp3", b"<!doctype html><script>alert(1)</script>"),
        "zeros": ("y.mp3", bytes(300_000)),
        "noise": ("z.m4a", np.random.default_rng(2).bytes(300_000)),
    }
