__all__: list[str]
__version__: str

def parse_command(text: str) -> str: ...
