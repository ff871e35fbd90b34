"""Where commits are kept: a folder that every worker can reach, or a bucket by its URI (s3://…, gs://…).

The same places as Ray Train's storage path accepts.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from pyarrow import ArrowInvalid, fs

from actors.runtime.files import existing, replacing

POLICY = "policy.safetensors"  # in a commit: the policy's weights by their Hugging Face names, for serving


class Storage:
    """One folder there. A path is read and written in place; files behind a URI are copied there and back.

    Args:
        uri: an absolute path, or a URI that `pyarrow.fs.FileSystem.from_uri` accepts.

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

    def child(self, name: str) -> Storage:
        """The folder `name` in this one. A query of the URI is kept."""
        base, mark, query = self.uri.partition("?")
        return Storage(f"{base.rstrip('/')}/{name}{mark}{query}")

    def children(self) -> list[str]:
        """The names of the folders in it, sorted; none if it does not exist."""
        entries = self.files.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        return sorted(info.base_name for info in entries if info.type is fs.FileType.Directory)

    def written_at(self) -> dict[str, float]:
        """When each of its files was last written, by the storage's own clock, in seconds of the epoch."""
        entries = self.files.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        whole = (info for info in entries if info.type is fs.FileType.File and not info.base_name.startswith("."))
        return {info.base_name: info.mtime_ns / 1e9 for info in whole}

    def has(self, name: str) -> bool:
        """Whether it has a file of that name."""
        return self.files.get_file_info(self._in(name)).type is fs.FileType.File

    def size(self) -> int:
        """The size of all files in it and below it, in bytes."""
        entries = self.files.get_file_info(fs.FileSelector(self.path, allow_not_found=True, recursive=True))
        return sum(info.size for info in entries if info.type is fs.FileType.File)

    def read(self, name: str) -> bytes:
        """The contents of a file. Raises OSError if it cannot be read."""
        with self.files.open_input_stream(self._in(name)) as file:
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, which is complete as soon as it is visible."""
        if not isinstance(self.files, fs.LocalFileSystem):  # a bucket shows no object before it is complete
            with self.files.open_output_stream(self._in(name)) as file:
                file.write(data)
            return
        self.files.create_dir(self.path, recursive=True)
        with replacing(Path(self._in(name))) as partial, open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def delete(self, name: str) -> None:
        """Removes a file, if it is there."""
        with suppress(FileNotFoundError):
            self.files.delete_file(self._in(name))

    def digest(self, name: str) -> str:
        """The SHA-256 of a file, in hex."""
        with self.files.open_input_stream(self._in(name)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def keep_only(self, names: Set[str]) -> None:
        """Deletes all files and folders in it but the files `names`."""
        for info in self.files.get_file_info(fs.FileSelector(self.path)):
            if info.type is fs.FileType.Directory:
                self.files.delete_dir(info.path)
            elif info.base_name not in names:
                self.files.delete_file(info.path)

    def clear(self) -> None:
        """Makes it an empty folder, whatever it was before."""
        self.remove()
        self.files.create_dir(self.path, recursive=True)

    def remove(self) -> None:
        """Deletes it, if it exists."""
        if self.files.get_file_info(self.path).type is not fs.FileType.NotFound:
            self.files.delete_dir(self.path)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty local folder, from which `take_in` is cheap. It is deleted at the end of the context."""
        with tempfile.TemporaryDirectory(prefix=".part-", dir=self.path if self.local else None) as folder:
            yield Path(folder)

    def take_in(self, folder: Path) -> dict[str, str]:
        """Moves all files of a workspace here.

        Returns:
            The SHA-256 of each file, in hex, by its path in this folder.
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
        """The files as a local folder. It may be a copy, which is deleted at the end of the context."""
        if self.local:
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory() as folder:
            fs.copy_files(self.path, folder, source_filesystem=self.files, destination_filesystem=fs.LocalFileSystem())
            yield Path(folder)

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """One file as a local file. It may be a copy, which is deleted at the end of the context.

        Raises:
            OSError: it cannot be read.
        """
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
        """Free space in bytes; None for a bucket."""
        return shutil.disk_usage(existing(Path(self.path))).free if self.local else None

    def _in(self, name: str) -> str:
        return f"{self.path}/{name}"
