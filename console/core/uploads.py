"""How much of a form's files is taken. Django itself keeps whatever comes on the disk, before a view or a right is looked at."""

from __future__ import annotations

from django.core.files.uploadhandler import FileUploadHandler, StopUpload

MOST_BYTES = 130 * 1024 * 1024  # of all files of a form: a list of keys has at most 128 MiB


class CappedUpload(FileUploadHandler):
    """Ends an upload that is too large: the form is then read without its file. First of the handlers, so that nothing more is kept."""

    taken = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        self.taken += len(raw_data)
        if self.taken > MOST_BYTES:
            raise StopUpload(connection_reset=True)
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None
