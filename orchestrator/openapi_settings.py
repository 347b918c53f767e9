"""How the OpenAPI document is made: the part of the settings that drf-spectacular reads."""

from orchestrator import __version__

SPECTACULAR_SETTINGS = {
    "TITLE": "Orchestrator",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.0",
    "COMPONENT_SPLIT_PATCH": False,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "SessionStatus": "sessions_app.models.session.SessionStatus.values",
        "TaskStatus": "sessions_app.models.task.TaskStatus.values",
        "ApprovalStatus": "sessions_app.models.approval.ApprovalStatus.values",
        "Verdict": "sessions_app.models.decision.Verdict.values",
    },
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "orchestrator.openapi.complete"],
    "SORT_OPERATION_PARAMETERS": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # A null validator: Swagger UI would show the document to one elsewhere.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None, "defaultModelsExpandDepth": 0},
}
