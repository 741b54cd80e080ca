"""What the entry point names: light, as it is imported when somebody asks for device "toy"."""

from flambeau.plugins import hookimpl


@hookimpl
def flambeau_backend(core_protocol):
    from toy import ToyBackend  # heavy imports stay inside

    return ToyBackend()
