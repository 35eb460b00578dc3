"""One request by the official SDK of a protocol, to compare it with what Argus sends: official.py WIRE URL < request.json

The request is JSON: model, system, user, schema, max_tokens. What the server answers doesn't matter.
"""

import json
import sys


def openai(url, ask):
    from openai import OpenAI

    schema = {"name": "plan", "strict": True, "schema": ask["schema"]}
    OpenAI(base_url=url, api_key="k", max_retries=0).chat.completions.create(
        model=ask["model"],
        messages=[{"role": "system", "content": ask["system"]}, {"role": "user", "content": ask["user"]}],
        response_format={"type": "json_schema", "json_schema": schema},
        max_completion_tokens=ask["max_tokens"],
    )


def openai_responses(url, ask):
    from openai import OpenAI

    OpenAI(base_url=url, api_key="k", max_retries=0).responses.create(
        model=ask["model"],
        instructions=ask["system"],
        input=[{"role": "user", "content": ask["user"]}],
        text={"format": {"type": "json_schema", "name": "plan", "strict": True, "schema": ask["schema"]}},
        max_output_tokens=ask["max_tokens"],
    )


def anthropic(url, ask):
    from anthropic import Anthropic

    Anthropic(base_url=url.removesuffix("v1/"), api_key="k", max_retries=0).messages.create(
        model=ask["model"],
        system=ask["system"],
        messages=[{"role": "user", "content": ask["user"]}],
        output_config={"format": {"type": "json_schema", "schema": ask["schema"]}},
        max_tokens=ask["max_tokens"],
    )


def gemini(url, ask):
    from google import genai

    client = genai.Client(api_key="k", http_options={"base_url": url.removesuffix("v1/"), "api_version": "v1"})
    client.models.generate_content(
        model=ask["model"],
        contents=ask["user"],
        config={
            "system_instruction": ask["system"],
            "response_mime_type": "application/json",
            "response_json_schema": ask["schema"],
            "max_output_tokens": ask["max_tokens"],
        },
    )


def bedrock(url, ask):
    import boto3
    from botocore.config import Config

    once = Config(retries={"total_max_attempts": 1})
    # It sends a bearer's key over TLS only; with these it signs instead, which changes nothing of the rest.
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "k"}
    schema = json.dumps(ask["schema"], separators=(",", ":"), ensure_ascii=False)
    boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=once, **keys).converse(
        modelId=ask["model"],
        system=[{"text": ask["system"]}],
        messages=[{"role": "user", "content": [{"text": ask["user"]}]}],
        inferenceConfig={"maxTokens": ask["max_tokens"]},
        outputConfig={"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"name": "plan", "schema": schema}}}},
    )


def ollama(url, ask):
    from ollama import Client

    Client(host=url, headers={"authorization": "Bearer k"}).chat(
        model=ask["model"],
        messages=[{"role": "system", "content": ask["system"]}, {"role": "user", "content": ask["user"]}],
        format=ask["schema"],
        options={"num_predict": ask["max_tokens"], "num_ctx": 16384},
    )


WIRES = {
    "openai": openai,
    "openai-responses": openai_responses,
    "anthropic": anthropic,
    "gemini": gemini,
    "bedrock": bedrock,
    "ollama": ollama,
}
try:
    WIRES[sys.argv[1]](sys.argv[2], json.load(sys.stdin))
except Exception as error:
    # The server refuses everything.
    if not any(hasattr(error, name) for name in ("status_code", "code", "response")):
        raise
