from typing import Any

version: str
sources: str
cuda_architectures: str

def instruction_set() -> str: ...
def supported_instruction_sets() -> list[str]: ...
def set_instruction_set(name: str) -> None: ...
def __getattr__(operator: str) -> Any: ...  # one function per operator, as in csrc/binding
