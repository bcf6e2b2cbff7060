"""The chat form of an imported model: what a message looks like before its answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from danlu.data import Tokenizer
from danlu.data.tokenizers import Ids, Pretrained
from danlu.files.json import parse
from danlu.interop.errors import InteropError
from danlu.interop.folder import TOKENIZER_CONFIG, Kept
from danlu.interop.opened import kept_of


def asked(folder: Path, tokenizer: Tokenizer, message: str) -> Ids:
    """The ids of a user's ``message`` in the chat form of the model in ``folder``, up to where its answer
    begins: int64 [tokens]. As in transformers, a message that spells a special token has that token.

    Raises InteropError where the model has no chat form, or one that cannot be written.
    """
    kept = kept_of(folder)
    template, about = template_of(kept)
    if template is None or not isinstance(tokenizer, Pretrained):
        raise InteropError(f"{folder} has no chat_template; leave --chat out: the model continues texts")
    return tokenizer.encode_marked(rendered(template, message, about))


def template_of(kept: Kept) -> tuple[str | None, dict[str, Any]]:
    """The template (``chat_template.jinja``, else of ``tokenizer_config.json``); what the latter says."""
    try:
        about = parse(kept.files.get(TOKENIZER_CONFIG, "{}"))
    except ValueError as error:
        raise InteropError(f"{TOKENIZER_CONFIG} is not JSON: {error}") from None
    about = about if isinstance(about, dict) else {}
    found = kept.files.get("chat_template.jinja", about.get("chat_template"))
    return (found if isinstance(found, str) else None), about


def rendered(template: str, message: str, about: dict[str, Any]) -> str:
    """A user's message by a template of transformers, in a sandbox. Raises InteropError."""
    from jinja2 import TemplateError  # PyTorch brings it
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    tokens = {name: about[name] for name in ("bos_token", "eos_token") if isinstance(about.get(name), str)}
    room = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    try:
        return room.from_string(template).render(
            messages=[{"role": "user", "content": message}], add_generation_prompt=True, **tokens
        )
    except (TemplateError, TypeError, ArithmeticError, RecursionError) as error:
        raise InteropError(f"the chat_template cannot be written: {error}") from None
