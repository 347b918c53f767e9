"""Arguments that several tools take, and what a model is told of them. Each is flat: a text, a number or an object."""

from typing import Annotated, Any

from pydantic import Field

TaskId = Annotated[str, Field(description="The task's id, a UUID, with or without `task-` before it.")]
ApprovalId = Annotated[str, Field(description="The approval's id, a UUID, with or without `approval-` before it.")]
Target = Annotated[str, Field(description="The agent role that it is for, such as `finance` or `manager`.")]
LeaseToken = Annotated[str, Field(description="`lease.token` as `claim_task` answered it: a secret.")]
Action = Annotated[dict[str, Any], Field(description="Exactly what is to be done, as a JSON object.")]
FromRole = Annotated[str, Field(description="The agent role that asks. Needed only where you have several.")]
Key = Annotated[
    str,
    Field(
        description="Calls with the same key and arguments are done once. Give one where a failure told you one; leave "
        "it out otherwise."
    ),
]
