"""A model that may use so many tokens and no more: what might be too much is not asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workflows.model import ChatModel, ModelFailed, Said

LEAST = 64
"""With fewer tokens left for an answer a question is not worth its price."""
BYTES_A_TOKEN = 2
"""Of a prompt; real ones are longer, so that the real sum stays below what is reckoned with."""


@dataclass
class Metered(ChatModel):
    most_tokens: int | None = None

    async def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        schema: Mapping[str, object] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        seed: int | None = None,
        model: str | None = None,
    ) -> Said:
        """Raises ModelFailed also where it might use more than is left. An answer may be cut shorter for that."""
        prompt = sum(len(message["content"].encode()) for message in messages) // BYTES_A_TOKEN
        if self.most_tokens is not None:
            left = self.most_tokens - self.tokens - prompt
            if left < LEAST:
                raise ModelFailed(f"not asked: {self.tokens} of {self.most_tokens} tokens are used")
            max_tokens = min(max_tokens, left)
        before = self.tokens
        said = None
        try:
            said = await super().complete(
                messages,
                schema=schema,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                model=model,
            )
            return said
        finally:
            if self.tokens == before:  # not every endpoint says what it used
                self.prompt_tokens += prompt
                self.completion_tokens += len(said.text.encode()) // BYTES_A_TOKEN if said else 0
