"""The API's own description: OpenAPI 3.1, and what is made of it to be read."""
