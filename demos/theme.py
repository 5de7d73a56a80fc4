"""Theme: colours and fonts of the page. Fonts are the system's own, so the page asks no other host for any."""

from typing import Any

import gradio as gr

__all__ = ["theme"]


def theme() -> Any:
    """Slate and teal on white, with light borders in place of shadows."""
    return gr.themes.Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        radius_size="md",
        font=("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif"),
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"),
    ).set(
        body_background_fill="*neutral_50",
        block_shadow="none",
        block_border_width="1px",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_text_color="white",
    )
