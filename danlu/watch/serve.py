"""The server of ``danlu watch``: one process on this machine, its address printed with a token."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from danlu.lab.errors import LabError

if TYPE_CHECKING:
    from danlu.watch.guard import Keys

HOST, PORT = "127.0.0.1", 8765
TRIES = 20  # ports, where none was asked for
PACKAGES = ("starlette", "uvicorn", "jinja2")
GRACE = 2  # seconds: open streams would hold up Ctrl-C
ANY = ("0.0.0.0", "::")


def check_installed() -> None:
    """Raises ``LabError`` where a package of the extra is missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise LabError(f"danlu watch needs {', '.join(missing)}: pip install 'danlu[watch]'")


def serve(
    folder: Path,
    *,
    host: str = HOST,
    port: int | None = None,
    name: str | None = None,
    say: Callable[[str], None],
) -> None:
    """Show ``folder`` until Ctrl-C. ``host``: the address to listen at; ``name``: what others call this
    machine, needed where it is no loopback address. ``say`` is told the address. Raises ``LabError``."""
    check_installed()
    if not folder.is_dir():
        raise LabError(f"{folder} is not a folder; name a folder of runs or studies")
    names = names_of(host, name)
    listening = listen(host, port)
    import uvicorn

    from danlu.draw.language import OWN, language
    from danlu.watch.app import make, warm
    from danlu.watch.guard import Keys

    keys, at = Keys(), listening.getsockname()[1]
    app = make(folder, keys=keys, port=at, names=names, language=language() if os.environ.get(OWN) else None)
    # Until somebody has opened the address.
    threading.Thread(target=warm, args=(app,), daemon=True).start()
    for line in said(keys, at, names, host):
        say(line)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=200,
        h11_max_incomplete_event_size=16 << 10,
    )
    with suppress(KeyboardInterrupt):  # the usual end
        uvicorn.Server(config).run(sockets=[listening])


def names_of(host: str, name: str | None) -> tuple[str, ...]:
    """By which names a browser may call the server. Raises ``LabError`` where that is not known."""
    from danlu.watch.guard import LOOPBACK

    if name is not None and not _is_name(name):
        raise LabError(f"--name {name} is no name of a machine; give it without http:// and port")
    if is_loopback(host):
        return (*LOOPBACK, *([name] if name else []))
    if name is None and host in ANY:
        raise LabError(
            f"--host {host} listens to everybody, and a browser must call it by a known name: add --name "
            "MACHINE; better: leave both out and come by ssh, as danlu watch prints it"
        )
    return (*LOOPBACK, name or (f"[{host}]" if ":" in host else host))


def _is_name(name: str) -> bool:
    return 0 < len(name) < 254 and all(c.isascii() and (c.isalnum() or c in "-._") for c in name)


def is_loopback(host: str) -> bool:
    """Whether nobody outside can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int | None) -> socket.socket:
    """A socket at the address; without ``port`` at the first free one of some. Raises ``LabError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for at in [port] if port is not None else range(PORT, PORT + TRIES):
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, at))
            found.listen(128)  # from now on who asks waits, though nobody answers yet
            return found
        except OSError as error:
            found.close()
            if error.errno == errno.EADDRINUSE and port is None:
                continue
            taken = error.errno == errno.EADDRINUSE
            what = "is in use; leave --port out, or name another" if taken else f"cannot be used ({error})"
            raise LabError(f"port {at} at {host} {what}") from None
    raise LabError(f"the ports {PORT} to {PORT + TRIES - 1} are in use; name another with --port")


def said(keys: Keys, port: int, names: tuple[str, ...], host: str) -> Iterator[str]:
    """What is printed: the address, and how to come from elsewhere."""
    yield f"http://127.0.0.1:{port}/?token={keys.token}"
    if is_loopback(host):
        yield f"from another machine: ssh -L {port}:127.0.0.1:{port} {socket.gethostname()}, then the same"
    else:
        yield f"http://{names[-1]}:{port}/?token={keys.token}"
        yield "not encrypted: whoever is in between reads along; ssh is safer (leave --host out)"
    yield "Ctrl-C ends it"
