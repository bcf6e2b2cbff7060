"""The families, a file each; the first that fits a model is the one it is written as."""

from danlu.interop.families.bert import BERT
from danlu.interop.families.bloom import BLOOM
from danlu.interop.families.cohere import COHERE, COHERE2
from danlu.interop.families.deepseek import DEEPSEEK2, DEEPSEEK3
from danlu.interop.families.falcon import FALCON
from danlu.interop.families.gemma import GEMMA2, GEMMA3
from danlu.interop.families.gpt2 import GPT2
from danlu.interop.families.gpt_neox import GPT_NEOX
from danlu.interop.families.gpt_oss import GPT_OSS
from danlu.interop.families.gptj import GPTJ
from danlu.interop.families.llama import LLAMA, MISTRAL, OLMO2, QWEN2, QWEN3
from danlu.interop.families.mpt import MPT
from danlu.interop.families.opt import OPT
from danlu.interop.families.phi import PHI
from danlu.interop.families.smollm3 import SMOLLM3
from danlu.interop.families.t5 import T5
from danlu.interop.family import Family

_ALL = (
    *(GPT2, OPT, GPT_NEOX, GPTJ, PHI, FALCON, BLOOM, MPT, BERT, T5),
    *(LLAMA, MISTRAL, QWEN2, QWEN3, OLMO2, SMOLLM3, GEMMA2, GEMMA3, COHERE, COHERE2, DEEPSEEK2, DEEPSEEK3),
    GPT_OSS,
)
FAMILIES: dict[str, Family] = {family.model_type: family for family in _ALL}
