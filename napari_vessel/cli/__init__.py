"""The same verbs as the window, without one: ``napari-vessel --help``.

Only typer and rich are imported here; each command imports what it runs, so that help and mistakes answer at once.
"""

import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import typer

from napari_vessel.cli import (
    compare,
    cuts,
    evaluate,
    fewshot,
    files,
    finetuning,
    gaps,
    interchange,
    measure,
    models,
    pretraining,
    projects,
    report,
    synthesis,
    training,
    window,
)
from napari_vessel.errors import VesselError
from napari_vessel.logfile import log_path, sentence

app = typer.Typer(
    name="napari-vessel",
    help="Connected vessel masks: segment, find every break, review each with one key, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from napari_vessel.version import __version__

        typer.echo(f"napari-vessel {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="When something goes wrong, print its traceback too.")] = False,
) -> None:
    context.ensure_object(dict)["debug"] = debug


app.command()(window.demo)
app.command()(window.review)
app.command()(files.segment)
app.command()(gaps.gaps)
app.command()(gaps.complete)
app.command()(cuts.cuts)
app.command()(training.train)
app.command()(pretraining.pretrain)
app.command(cls=fewshot.SeveralPerOption)(fewshot.fewshot)
app.command()(finetuning.finetune)
app.command()(synthesis.synthesize)
app.command()(evaluate.evaluate)
app.command()(measure.measure)
app.add_typer(projects.app, name="project")
app.command("export")(interchange.export)
app.command("import")(interchange.import_)
app.command()(report.report)
app.command()(compare.compare)
app.add_typer(models.app, name="models")

# The base of everything a wrong command line raises. Typer exports only its leaves, and from which package they come
# depends on typer's version.
_UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of the process when left out.

    Returns
    -------
    int
        0 when done, 1 for input that cannot be used or a cancelled command, 2 for a wrong command line, 3 for a
        mistake of the program's.
    """
    options: dict[str, bool] = {}
    words = None if arguments is None else list(arguments)
    try:
        code = app(words, prog_name="napari-vessel", standalone_mode=False, obj=options)
    except VesselError as error:
        return _fail(_told(error, options), 1)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("Cancelled; files that were finished are complete, and nothing is half-written.", 1)
    except _UsageError as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "napari-vessel")
        message = cast(Any, error).format_message().strip()
        if not message:  # no arguments at all: the help has been printed
            return 2
        return _fail(f"{message.rstrip('.')}. See {command} --help.", 2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _told(error, options)
        return _fail(f"{where}{error.strerror or error}; the details are in {log_path()}.", 1)
    except Exception as error:  # noqa: BLE001 - the program's edge: a person gets a sentence, the log file the rest
        return _fail(_told(error, options), 3)
    return code if isinstance(code, int) else 0


def _told(error: Exception, options: Mapping[str, bool]) -> str:
    if options.get("debug"):
        traceback.print_exception(error)
    return sentence(error)


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(sentence.split())}\n")
    return code
