"""People as the service knows them: by issuer and subject."""
