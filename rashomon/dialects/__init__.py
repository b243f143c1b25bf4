"""What language models are asked and say, whatever the dialect: messages, tools, reasoning, usage, errors.

OpenAI chat completions, responses, embeddings and legacy completions (Azure's and compatible servers' too), Anthropic
messages, Google generateContent, Amazon Bedrock converse. Nothing here fails on what it does not know: it reads what
it finds, and names the rest.
"""

from rashomon.dialects.opening import Opening as Opening
from rashomon.dialects.opening import opening as opening
from rashomon.dialects.reading import Asked as Asked
from rashomon.dialects.reading import Message as Message
from rashomon.dialects.reading import Reading as Reading
from rashomon.dialects.reading import Tool as Tool
from rashomon.dialects.reading import ToolCall as ToolCall
from rashomon.dialects.reading import ToolResult as ToolResult
from rashomon.dialects.reading import named as named
from rashomon.dialects.recognition import Assembled as Assembled
from rashomon.dialects.recognition import assemble as assemble
from rashomon.dialects.recognition import assemble_texts as assemble_texts
from rashomon.dialects.recognition import read_answer as read_answer
from rashomon.dialects.requests import dialect_of as dialect_of
from rashomon.dialects.requests import model_in as model_in
from rashomon.dialects.requests import read_request as read_request
