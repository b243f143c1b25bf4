from .model import ModelRequest, Reply
def support_assistant(request: ModelRequest) -> Reply:
    return Reply(text="You said: " + request.last_user_text)
