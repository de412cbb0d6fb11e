"""What can go wrong, said in one sentence that tells the reader what to do next."""

from pathlib import Path


class VesselError(Exception):
    """An expected failure.

    ``str(error)`` is one sentence for the person in front of the screen: what is wrong, with the name of
    the file or setting, and what to do next. The graphical interface and the command line show it as it is.
    """


class InputError(VesselError):
    """A file, folder or array cannot be used as it is."""


class ModelError(VesselError):
    """A model is missing, damaged, or does not fit the image."""


class DeviceError(VesselError):
    """The computing device asked for is not there or has too little memory."""


class ProjectError(VesselError):
    """A project folder cannot be opened or written."""


class DamagedProjectError(ProjectError):
    """The database of a project is damaged or lost; a backup may be there to go back to.

    Parameters
    ----------
    what : str
        First half of the sentence.
    remedy : str
        Second half: what to do about it at a terminal.
    folder : Path
        The project's.
    """

    def __init__(self, what: str, remedy: str, folder: Path) -> None:
        super().__init__(f"{what}; {remedy}.")
        self.what, self.folder = what, folder


class Cancelled(VesselError):
    """The job was cancelled; everything is as it was before it started."""
