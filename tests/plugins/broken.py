"""The ways in which a plugin breaks, each with what its row must say."""

from __future__ import annotations

HEAD = "from dbtssl.plugins import hookimpl\nDBTSSL_API = 1\n"
TAKEN = "register('method', 'random-init', 'x:Y', 'takes a name of the core')"


def hook(*lines: str, head: str = HEAD, arguments: str = "register") -> str:
    """A plugin's module whose hook runs ``lines``."""
    body = "".join(f"    {line}\n" for line in lines or ("pass",))
    return f"{head}@hookimpl\ndef register_components({arguments}):\n{body}"


# distribution -> entry-point name, body of its module, words that its detail must hold
BROKEN = {
    "p-import": (
        "imp",
        "import nonexistent_package\n",
        ["ModuleNotFoundError", "nonexistent_package"],
    ),
    "p-typo": (
        "typo",
        f"{HEAD}@hookimpl\ndef register_component(register): pass\n",
        ["unknown hook 'register_component'. Did you mean 'register_components'?"],
    ),
    "p-undecorated": (
        "undecorated",
        f"{HEAD}def register_components(register): pass\n",
        ["did you forget @hookimpl"],
    ),
    "p-extra": ("extra", hook(arguments="register, cfg"), ["{'cfg'}", "hookspec"]),
    "p-api": (
        "api",
        hook(head=HEAD.replace("= 1", "= 2")),
        ["written for plugin API 2, this dbtssl has 1", "upgrade dbtssl"],
    ),
    "p-clash": (
        "clash",
        hook(TAKEN),
        ["method 'random-init' is already registered by dbtssl", "rename yours"],
    ),
    "p-half": (
        "half",
        hook("register('sampler', 'fresh', 'x:Y', 'left behind?')", TAKEN),
        ["method 'random-init' is already registered"],
    ),
    "p-raises": ("raises", hook("raise RuntimeError('boom')"), ["RuntimeError: boom"]),
    "p-kind": (
        "kind",
        hook("register('loss', 'x', 'x:Y', 'no such kind')"),
        ["unknown kind 'loss'", "sampler, objective"],
    ),
    "p-namesake": ("core", hook(), ["plugin name 'core' is already used by dbtssl"]),
    # beyond the ten: refusals of the register call itself, and a module that leaves the interpreter
    "p-no-api": (
        "no-api",
        hook(head=HEAD.replace("DBTSSL_API = 1\n", "")),
        ["states no DBTSSL_API"],
    ),
    "p-old": ("old", hook(head=HEAD.replace("= 1", "= 0")), ["plugin API 0", "upgrade p-old"]),
    "p-snake": (
        "snake",
        hook("register('sampler', 'my_sampler', 'x:Y', 'snake case')"),
        ["'my_sampler' is not kebab-case"],
    ),
    "p-target": (
        "target",
        hook("register('sampler', 'mine', 'x.Y', 'no colon')"),
        ["target 'x.Y' is not of the form module:attribute; did you mean x:Y?"],
    ),
    "p-silent": (
        "silent",
        hook("register('sampler', 'mine', 'x:Y', ' ')"),
        ["sampler 'mine' has no summary"],
    ),
    "p-short": (
        "short",
        hook("register('sampler', 'mine')"),
        ["sampler mine: target and summary missing"],
    ),
    "p-twice": (
        "twice",
        hook(*2 * ["register('sampler', 'mine', 'x:Y', 'the same twice')"]),
        ["sampler 'mine' is registered twice by this plugin"],
    ),
    "p-exit": ("exit", "raise SystemExit('not on this machine')\n", ["SystemExit", "not on this"]),
    "p-interrupt": ("interrupt", "raise KeyboardInterrupt\n", ["KeyboardInterrupt, raised by"]),
    "p-base": ("base", "raise BaseException('no')\n", ["BaseException: no, raised by"]),
    "p-mute": (
        "mute",
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute\n",
        ["Mute"],
    ),
    "p-text-api": (
        "text-api",
        hook(head=HEAD.replace("= 1", '= "1"')),
        ["DBTSSL_API is '1', a str, expected the integer 1", "write DBTSSL_API = 1"],
    ),
    "p-float-api": (
        "float-api",
        hook(head=HEAD.replace("= 1", "= 1.0")),
        ["DBTSSL_API is 1.0, a float"],
    ),
    "p-no-argument": (
        "no-argument",
        hook(arguments=""),
        ["takes no argument `register`", "write def register_components(register):"],
    ),
    "p-object": (
        "object",
        hook("register('sampler', 'mine', object(), 'no text')"),
        ["sampler mine: target is a object, expected text", 'write f"{__name__}:NAME"'],
    ),
    "p-no-summary": (
        "no-summary",
        hook("register('sampler', 'mine', 'x:Y')"),
        ["sampler mine: summary missing", "register(kind, name, target, summary)"],
    ),
    "p-keyword": (
        "keyword",
        hook("register('sampler', 'mine', 'x:Y', sumary='a typo')"),
        ["register was called with sumary=", "register(kind, name, target, summary)"],
    ),
    "p-five": (
        "five",
        hook("register('sampler', 'mine', 'x:Y', 'one', 'too many')"),
        ["register was called with 5 arguments"],
    ),
    "p-kind-typo": (
        "kind-typo",
        hook("register('samplr', 'x', 'x:Y', 'a typo')"),
        ["unknown kind 'samplr'", "Did you mean 'sampler'?"],
    ),
    "p-method": (
        "method",
        "from dbtssl.api import Method\nMethod(summary='x', objective='y', pretrain={'epoch': 3})\n",
        ["Method: pretrain.epoch: unknown key. Did you mean 'epochs'?"],
    ),
    "p-view": (
        "view",
        "from dbtssl.api import Crop, ViewSpec\nViewSpec('Anchor', Crop(64))\n",
        ["ViewSpec: of is 'Anchor'", "Did you mean 'anchor'?"],
    ),
    "p-syntax": ("syntax", "def (\n", ["SyntaxError", "p_syntax.py"]),
}
