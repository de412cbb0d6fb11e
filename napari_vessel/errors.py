"""What can go wrong, said in one sentence that tells the reader what to do next."""


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


class Cancelled(VesselError):
    """The job was cancelled; everything is as it was before it started."""
