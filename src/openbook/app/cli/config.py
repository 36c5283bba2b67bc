"""`openbook config show` and `set`."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("show")
def show() -> None:
    """Print the settings in force, and where they are kept."""
    import yaml

    from openbook.core.config import Settings, config_path, load_settings

    values = load_settings().model_dump()
    print(f"# {config_path()}{'' if config_path().exists() else ' (not written yet)'}")
    for name, value in values.items():
        print(f"# {Settings.model_fields[name].description}")
        print(yaml.safe_dump({name: value}, allow_unicode=True, sort_keys=False).rstrip())


@app.command("set")
def set_(setting: Annotated[str, typer.Argument(metavar="KEY=VALUE", help="KEY= removes a setting.")]) -> None:
    """Set one, e.g. `max_wrong=0.05` or `models.local.url=http://127.0.0.1:11434/v1`."""
    from openbook.core.config import config_path, save_setting

    save_setting(setting)
    print(f"{setting} ({config_path()})")
