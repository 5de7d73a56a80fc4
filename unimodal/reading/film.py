"""Film: a video file's frames at wanted times, with seeking, so that no more is decoded than they need.

Axes: Y rows, X columns as stored.
"""

import re
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.opening import told

__all__ = ["Film"]

# Containers that hold their video themselves: playlists (HLS, DASH, concat) would open other files.
CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,ivf"
_SAME = 1e-4  # s; time stamps are rounded to their time base
_FAR = 2.0  # s; without an index, a jump of this length is worth a search for a keyframe
_SMALL = 16_000_000  # bytes; MPEG program streams have so few time stamps that the length of small ones is unknown
_UNSPECIFIED = 2  # the colour matrix that a file does not state

# EXIF's number for: swap the axes of what is stored, then flip upside down, then left to right.
_ORIENTATION = {
    (False, False, False): 1,
    (False, False, True): 2,
    (False, True, True): 3,
    (False, True, False): 4,
    (True, False, False): 5,
    (True, False, True): 6,
    (True, True, True): 7,
    (True, True, False): 8,
}


class Film:
    """The first video stream that is no cover picture, preferably the default one.

    Colours come out as 8-bit RGB; a high dynamic range (PQ, HLG) is not mapped to a lower one, so it looks flat.

    Args:
        file: A binary stream that can be sought; it must stay open.
        name: How to call it in messages.
        pixel_limit: The most pixels of a frame.

    Attributes:
        size: (width, height) px as stored.
        aspect: Width of a pixel over its height.
        orientation: EXIF orientation 1 to 8 of the display matrix (turns by quarters and mirrorings).
        duration_s: From the first frame to the end of the last one.
        rate_hz: Frames a second on average, or None.
        format, codec, mode: The container's, the codec's and the pixel layout's names in FFmpeg's words.

    Raises:
        MissingExtraError: PyAV is not installed.
        InputError: the file is no video, has no video stream or frame, an unknown codec, too many pixels or damage.
    """

    def __init__(self, file: IO[bytes], name: str, *, pixel_limit: int) -> None:
        try:
            import av
        except ImportError as error:
            raise MissingExtraError("av", "video") from error
        self._av, self._file, self.name, self._limit = av, file, name, pixel_limit
        self._options = {"format_whitelist": CONTAINERS, "max_pixels": str(min(pixel_limit, 2**31 - 1))}
        self._container: Any = None
        self._open()
        stream = self._stream
        self._origin = float(stream.start_time * stream.time_base) if stream.start_time is not None else 0.0
        self.rate_hz = float(stream.average_rate) if stream.average_rate else None
        self.format, self.codec = self._container.format.name.split(",")[0], stream.codec_context.name
        self.duration_s = self._duration()  # opens the container anew, perhaps: ``stream`` is not to be used below
        del stream
        first = self._ahead = self._next()
        if first is None:
            cause = f"its frames cannot be decoded ({self._damage})" if self._damage else "has no frames"
            self.close()
            raise InputError(name, cause, "a video with at least one frame is needed")
        self.mode, self.size = first[1].format.name, (first[1].width, first[1].height)
        self.orientation = _orientation(first[1])
        ratio = self._stream.sample_aspect_ratio
        self.aspect = float(ratio) if ratio and 0.1 <= ratio <= 10 else 1.0
        self.duration_s = max(self.duration_s, 1 / self.rate_hz if self.rate_hz else _SAME)
        self._held: tuple[float, Any] | None = None
        self._seeks = 2  # searches without an index that may fail

    def shown(self, times_s: Sequence[float]) -> Iterator[tuple[float, np.ndarray, int]]:
        """For each time, in rising order: the frame on display then, as (its time stamp, RGB (Y, X, 3), orientation).

        Raises:
            InputError: the frames end, or cannot be decoded, well before a time.
        """
        for time in times_s:
            try:
                stamp, frame = self._at(time)
                self._check(frame.width, frame.height)
                shown = max(stamp, 0.0), _rgb(frame), _orientation(frame)
            except InputError:
                raise
            except Exception as error:  # decoders raise nearly anything on bad data
                raise InputError(self.name, f"damaged or truncated near {time:.3g} s ({_said(error)})") from error
            yield shown

    def close(self) -> None:
        """Give the decoder's memory back."""
        if self._container is not None:
            self._container.close()

    def _open(self) -> None:
        self.close()
        self._file.seek(0)
        av = self._av
        try:
            self._container = av.open(self._file, "r", options=self._options, metadata_errors="ignore")
        except Exception as error:
            raise InputError(self.name, f"damaged or truncated video file ({_said(error)})") from error
        cover = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        videos = [s for s in self._container.streams.video if not s.disposition & cover]
        if not videos:
            kinds = ", ".join(sorted({s.type for s in self._container.streams})) or "nothing"
            self.close()
            raise InputError(self.name, f"has no video stream (it holds {kinds})", "give a file with moving pictures")
        stream = self._stream = next((s for s in videos if s.disposition & av.stream.Disposition.default), videos[0])
        if stream.codec_context is None:
            self.close()
            raise InputError(self.name, "its codec cannot be decoded here", "convert it to H.264, VP9 or AV1")
        self._check(stream.codec_context.width, stream.codec_context.height)
        for other in self._container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        stream.thread_type, stream.codec_context.thread_count = "AUTO", 4  # each thread holds frames
        self._damage, self._ended, self._last = "", False, 0.0
        self._frames = self._decoded()

    def _check(self, width: int, height: int) -> None:
        if width * height > self._limit:
            cause = f"has frames of {width} x {height} = {width * height} pixels, over the limit of {self._limit}"
            raise InputError(self.name, cause, "raise pixel_limit if you trust it")

    def _duration(self) -> float:
        stream, base = self._stream, self._stream.time_base
        if self.format != "mpeg" or self._container.size > _SMALL:
            if stream.duration:
                return float(stream.duration * base)
            tag = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
            if tag is not None:
                return 3600 * int(tag[1]) + 60 * int(tag[2]) + float(tag[3]) - self._origin
            if self._container.duration:
                return self._container.duration / 1e6
        end = self._origin  # streamed, or of a container with few time stamps: go through its packets once
        try:
            for packet in self._container.demux(stream):
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * base))
        except self._av.FFmpegError as error:
            raise InputError(self.name, f"damaged or truncated video file ({_said(error)})") from error
        self._open()
        return end - self._origin

    def _at(self, time: float) -> tuple[float, Any]:
        position = (self._ahead or self._held or (0.0, None))[0]
        if self._worth_seeking(position, time):
            self._seek(position, time)
        while not self._ended and (self._ahead is None or self._ahead[0] <= time + _SAME):
            self._held, self._ahead = self._ahead or self._held, self._next()
        if self._held is None:  # a time in front of the first frame
            if self._ahead is None:
                raise InputError(self.name, f"damaged or truncated: no frame at {time:.3g} s can be decoded")
            return self._ahead
        stamp, frame = self._held
        lasts = float((frame.duration or 0) * self._stream.time_base) or 1 / (self.rate_hz or 10)
        late = time - stamp - lasts
        slack = max(0.5, 2 / (self.rate_hz or 10))
        if late > slack and (self._damage or (self._ahead is None and not self._outlasted(time - slack))):
            cause = f"damaged or truncated: it lasts {self.duration_s:.3g} s, and its frames can be decoded"
            raise InputError(self.name, f"{cause} up to {stamp + lasts:.3g} s only", "repair it, or cut its end off")
        return self._held

    def _outlasted(self, time: float) -> bool:
        """Whether sound or the like goes on until ``time``, so that the file is whole and the last frame stays."""
        if self._stream.duration or len(self._container.streams) == 1:
            return False
        self._file.seek(0)
        with self._av.open(self._file, "r", options=self._options, metadata_errors="ignore") as again:
            try:
                ends = (float(p.pts * p.time_base) for p in again.demux() if p.pts is not None)
                return any(end - self._origin >= time for end in ends)
            except self._av.FFmpegError:
                return False

    def _worth_seeking(self, position: float, time: float) -> bool:
        if time - position < 2 / (self.rate_hz or 10):
            return False
        entries = self._stream.index_entries
        if self.format in ("mov", "avi") and len(entries):
            found = entries.search_timestamp(self._stamp(time), backward=True)
            return found >= 0 and float(entries[found].timestamp * self._stream.time_base) - self._origin > position
        return self._seeks > 0 and time - position > _FAR

    def _seek(self, position: float, time: float) -> None:
        """Go to a keyframe at or before ``time``; where that cannot be had, to the beginning."""
        for back in (0.0, 1.0, 10.0):
            try:
                self._container.seek(self._stamp(max(time - back, 0.0)), stream=self._stream)
            except self._av.FFmpegError:
                break
            self._held, self._ended, self._frames = None, False, self._decoded()
            self._ahead = self._next()
            if self._ahead is not None and self._ahead[0] <= time + _SAME:
                self._seeks -= self._ahead[0] <= position
                return
        self._seeks = 0
        self._open()
        self._held, self._ahead = None, self._next()

    def _stamp(self, time: float) -> int:
        return round((time + self._origin) / self._stream.time_base)

    def _next(self) -> tuple[float, Any] | None:
        found = next(self._frames, None)
        self._ended = found is None
        return found

    def _decoded(self) -> Iterator[tuple[float, Any]]:
        """(time, frame) from the container's place on; a packet that cannot be decoded is remembered and left out."""
        for packet in self._packets():
            try:
                frames = self._stream.decode(packet)
            except self._av.EOFError:
                return
            except Exception as error:  # decoders raise nearly anything on bad data
                self._damage = _said(error)
                continue
            for frame in frames:
                if frame.pts is None:
                    self._last += 1 / (self.rate_hz or 25)
                else:
                    self._last = float(frame.pts * self._stream.time_base) - self._origin
                yield self._last, frame

    def _packets(self) -> Iterator[Any]:
        """Packets as far as they can be read, then None, at which the decoder gives what it still holds."""
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    yield packet
        except Exception as error:
            self._damage = _said(error)
        yield None


def _said(error: Exception) -> str:
    """FFmpeg's words without its numbers, or any other error's."""
    return getattr(error, "strerror", None) or told(error)


def _orientation(frame: Any) -> int:
    """A display matrix (a b; c d) takes the stored (x, y) to (a x + c y, b x + d y), y downwards."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    swap = abs(a) + abs(d) < abs(b) + abs(c)
    return _ORIENTATION[swap, b < 0 if swap else d < 0, c < 0 if swap else a < 0]


def _rgb(frame: Any) -> np.ndarray:
    """(Y, X, 3). A colour matrix that is not stated is BT.709 in high definition and BT.601 below, as players do."""
    large = frame.width >= 1280 or frame.height > 576
    known = frame.colorspace != _UNSPECIFIED or frame.format.is_rgb or not large
    return frame.to_ndarray(format="rgb24", **({} if known else {"src_colorspace": "ITU709"}))
