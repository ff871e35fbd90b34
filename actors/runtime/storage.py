"""Where commits are kept: a folder that every worker reaches, or a bucket by its URI (s3://…, gs://…), as Ray Train takes it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pyarrow import ArrowInvalid, fs

POLICY = "policy.safetensors"  # of a commit: the policy's weights by their Hugging Face names, for who serves them


class Storage:
    """One folder of it. A path is written and read in place; what has a URI is copied there, and back.

    Args:
        uri: an absolute path or a URI that `pyarrow.fs.FileSystem.from_uri` knows.

    Raises:
        ValueError: it is neither.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        try:
            self.files, self.path = fs.FileSystem.from_uri(uri)
        except ArrowInvalid as error:
            raise ValueError(
                f"{uri}: neither an absolute path nor a URI such as s3://bucket/folder ({error})"
            ) from error
        self.local = "://" not in uri

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return Storage, (self.uri,)

    def __str__(self) -> str:
        """The URI without user and password."""
        return re.sub(r"://[^/@]*@", "://", self.uri)

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    def child(self, name: str) -> "Storage":
        base, mark, query = self.uri.partition("?")
        return Storage(f"{base.rstrip('/')}/{name}{mark}{query}")

    def children(self) -> list[str]:
        """Names of the folders in it, sorted; none where it is not there."""
        found = self.files.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        return sorted(info.base_name for info in found if info.type is fs.FileType.Directory)

    def has(self, name: str) -> bool:
        return self.files.get_file_info(self._in(name)).type is fs.FileType.File

    def size(self) -> int:
        """Bytes of all files in it."""
        found = self.files.get_file_info(fs.FileSelector(self.path, allow_not_found=True, recursive=True))
        return sum(info.size for info in found if info.type is fs.FileType.File)

    def read(self, name: str) -> bytes:
        """Raises OSError where it cannot be read."""
        with self.files.open_input_stream(self._in(name)) as file:
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Writes a file that is whole as soon as it is there."""
        if not self.local:  # a bucket shows no object before it is whole
            with self.files.open_output_stream(self._in(name)) as file:
                file.write(data)
            return
        partial = Path(self._in(f".{name}"))
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self._in(name))

    def digest(self, name: str) -> str:
        """SHA-256 of a file, in hex."""
        with self.files.open_input_stream(self._in(name)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def clear(self) -> None:
        """An empty folder, whatever it was before."""
        self.remove()
        self.files.create_dir(self.path, recursive=True)

    def remove(self) -> None:
        """Without a word where it is not there."""
        if self.files.get_file_info(self.path).type is not fs.FileType.NotFound:
            self.files.delete_dir(self.path)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty folder of this machine, from which `take_in` is cheap; gone afterwards."""
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self.path if self.local else None) as folder:
            yield Path(folder)

    def take_in(self, folder: Path) -> dict[str, str]:
        """Moves all files of a workspace here.

        Returns:
            SHA-256, in hex, by the path of each file in this folder.
        """
        digests = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            with open(path, "rb") as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
            self.files.create_dir(str(PurePosixPath(self._in(name)).parent), recursive=True)
            if self.local:
                os.replace(path, self._in(name))
            else:
                fs.copy_files(
                    str(path), self._in(name), source_filesystem=fs.LocalFileSystem(), destination_filesystem=self.files
                )
        return digests

    @contextmanager
    def here(self) -> Iterator[Path]:
        """The files as a folder of this machine, which may be a copy that is gone afterwards."""
        if self.local:
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory() as folder:
            fs.copy_files(self.path, folder, source_filesystem=self.files, destination_filesystem=fs.LocalFileSystem())
            yield Path(folder)

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """One file as a file of this machine, which may be a copy that is gone afterwards. Raises OSError."""
        if self.local:
            yield Path(self._in(name))
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / PurePosixPath(name).name
            fs.copy_files(
                self._in(name), str(copy), source_filesystem=self.files, destination_filesystem=fs.LocalFileSystem()
            )
            yield copy

    def free(self) -> int | None:
        """Bytes that are left; None for a bucket."""
        return shutil.disk_usage(self.path).free if self.local else None

    def _in(self, name: str) -> str:
        return f"{self.path}/{name}"
