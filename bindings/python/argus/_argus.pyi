__all__ = ["__version__", "parse_command"]

__version__: str

def parse_command(text: str) -> str: ...
